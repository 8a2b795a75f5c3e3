"""The charts of the dashboard, in the theme of the page.

Imported only when the dashboard is opened: Altair and pandas take 110 MB.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import altair as alt

from bots.web.views.amounts import MICRO, milliseconds, money
from shared.figures import Figures, Rated, Stage, StageName

HEIGHT: Final = 260
ROW_PX: Final = 44
AXIS_PX: Final = 70

PLATFORMS: Final = ("slack", "discord", "web", "terminal", "gateway")
"""In this order, so that each keeps its colour when another one is silent."""

STAGES: Final[Mapping[StageName, str]] = {
    "stored": "Question stored",
    "queued": "Model asked",
    "first token": "First text",
    "complete": "Whole answer",
    "shown": "Answer shown",
}

SHARES: Final = ("50 %", "95 %", "99 %")
SMALLEST_MS: Final = 1.0
"""A logarithmic axis has no zero."""

AS_TIME: Final = "datum.value < 1000 ? datum.value + ' ms' : datum.value / 1000 + ' s'"
AS_NUMBER: Final = "format(abs(datum.value), '~s')"

Values = list[dict[str, Any]]
Chart = Any
"""Altair's own types say less than they seem to."""


def messages(figures: Figures) -> Chart:
    """Messages per hour or day, by platform."""
    known = {(one.at, one.platform): one.messages for one in figures.messages}
    platforms = [name for name in PLATFORMS if any(name == of for _, of in known)]
    platforms += sorted({of for _, of in known} - set(PLATFORMS))
    values = [
        {
            "at": _instant(at), "platform": platform, "rank": rank,
            "messages": known.get((at, platform), 0),
        }
        for at in buckets(figures)
        for rank, platform in enumerate(platforms)
    ]  # fmt: skip
    bars = _chart(values).mark_bar().encode(
        x=_time(figures),
        y=alt.Y("messages:Q", title=None, axis=_counts()),
        color=alt.Color(
            "platform:N", title=None, scale=alt.Scale(domain=platforms), legend=_legend()
        ),
        order=alt.Order("rank:Q"),
        tooltip=[_when(figures), "platform:N", alt.Tooltip("messages:Q", format=",")],
    )  # fmt: skip
    return alt.layer(bars)


def stages(found: Iterable[Stage]) -> Chart:
    """How long each stage took: for half, 95 % and 99 % of the answers."""
    values = [
        {
            "stage": STAGES[stage.name], "share": share, "ms": max(SMALLEST_MS, ms),
            "text": milliseconds(ms), "answers": stage.answers,
        }
        for stage in found
        for share, ms in zip(SHARES, (stage.p50_ms, stage.p95_ms, stage.p99_ms), strict=True)
    ]  # fmt: skip
    order = [name for name in STAGES.values() if any(name == one["stage"] for one in values)]
    base = _chart(values, height=len(order) * ROW_PX + AXIS_PX).encode(
        y=alt.Y("stage:N", title=None, sort=order, axis=alt.Axis(labelLimit=140, ticks=False)),
        x=alt.X(
            "ms:Q", title=None, scale=alt.Scale(type="log", nice=True),
            axis=alt.Axis(
                labelExpr=AS_TIME, values=[10.0**power for power in range(7)], labelOverlap=True
            ),
        ),
    )  # fmt: skip
    spans = base.mark_line(strokeWidth=3, opacity=0.3, color="gray").encode(detail="stage:N")
    dots = base.mark_circle(size=130, opacity=1).encode(
        color=alt.Color("share:N", title=None, sort=list(SHARES), legend=_legend()),
        tooltip=[
            "stage:N", alt.Tooltip("share:N", title="share of answers"),
            alt.Tooltip("text:N", title="within"),
            alt.Tooltip("answers:Q", format=","),
        ],
    )  # fmt: skip
    # Left of the smallest and right of the largest, so that they never overlap.
    outer = zip(
        SHARES[::2], ({"align": "right", "dx": -11}, {"align": "left", "dx": 11}), strict=True
    )
    numbers = (
        base.transform_filter(alt.datum.share == share)
        .mark_text(color="gray", **side)
        .encode(text="text:N")
        for share, side in outer
    )
    return alt.layer(spans, dots, *numbers)


def outcomes(counts: Mapping[str, int]) -> Chart:
    """Answers by outcome, as numbers and shares."""
    total = sum(counts.values())
    values = [
        {"outcome": outcome, "answers": count, "text": f"{count:,}  ({count / total:.1%})"}
        for outcome, count in counts.items()
    ]
    longest = max(counts.values(), default=0)
    base = _chart(values, height=len(values) * ROW_PX + 10).encode(
        y=alt.Y("outcome:N", title=None, sort="-x", axis=alt.Axis(ticks=False, domain=False)),
        x=alt.X("answers:Q", title=None, axis=None, scale=alt.Scale(domain=[0, longest * 1.8])),
        tooltip=["outcome:N", alt.Tooltip("answers:Q", format=",")],
    )
    numbers = base.mark_text(align="left", dx=8, color="gray").encode(text="text:N")
    return alt.layer(base.mark_bar(cornerRadiusEnd=4, height={"band": 0.6}), numbers)


def ratings(figures: Figures) -> Chart:
    """Thumbs up and down per hour or day; those down are below the line."""
    known = {one.key: one for one in figures.rated}
    values = []
    for at in buckets(figures):
        one = known.get(at, Rated(key=at, up=0, down=0))
        values += [
            {"at": _instant(at), "thumb": "up", "height": one.up, "ratings": one.up},
            {"at": _instant(at), "thumb": "down", "height": -one.down, "ratings": one.down},
        ]
    bars = _chart(values, height=HEIGHT - 40).mark_bar().encode(
        x=_time(figures),
        y=alt.Y("height:Q", title=None, axis=alt.Axis(
            labelExpr=AS_NUMBER, tickMinStep=1, tickCount=4,
        )),
        color=alt.Color(
            "thumb:N", title=None, scale=alt.Scale(domain=["down", "up"]),
            legend=_legend(values=["up", "down"]),
        ),
        tooltip=[_when(figures), "thumb:N", "ratings:Q"],
    )  # fmt: skip
    return alt.layer(bars)


def tokens(figures: Figures) -> Chart:
    """Tokens per day: what models read, and what they wrote."""
    known = {one.key: one for one in figures.by_day}
    values = []
    for day in days(figures):
        used = known.get(day)
        for kind, count in (
            ("read by models", used.input_tokens if used else 0),
            ("written by models", used.output_tokens if used else 0),
        ):
            values.append({"at": _instant(day), "kind": kind, "tokens": count})
    bars = _chart(values).mark_bar().encode(
        x=_days(),
        y=alt.Y("tokens:Q", title=None, axis=_counts()),
        color=alt.Color("kind:N", title=None, legend=_legend()),
        tooltip=[
            alt.Tooltip("utcyearmonthdate(at):T", title="day", format="%-d %b %Y"), "kind:N",
            alt.Tooltip("tokens:Q", format=","),
        ],
    )  # fmt: skip
    return alt.layer(bars)


def costs(figures: Figures) -> Chart:
    """What is known of the cost per day, in US dollars."""
    known = {one.key: one for one in figures.by_day}
    values = []
    for day in days(figures):
        used = known.get(day)
        dollars = (used.cost_microdollars or 0) / MICRO if used else 0
        text = money(used) if used else "$0.00"
        values.append({"at": _instant(day), "dollars": dollars, "cost": text})
    bars = _chart(values).mark_bar().encode(
        x=_days(),
        y=alt.Y("dollars:Q", title=None, axis=alt.Axis(format="$,.3~f", tickCount=5)),
        tooltip=[
            alt.Tooltip("utcyearmonthdate(at):T", title="day", format="%-d %b %Y"), "cost:N",
        ],
    )  # fmt: skip
    return alt.layer(bars)


def days(figures: Figures) -> list[str]:
    """All days of the range."""
    return list(dict.fromkeys(at[:10] for at in buckets(figures)))


def buckets(figures: Figures) -> list[str]:
    """All hours or days of the range, also those in which nothing happened."""
    step = timedelta(hours=1) if figures.by_hour else timedelta(days=1)
    at = figures.since.replace(minute=0, second=0, microsecond=0)
    at = at if figures.by_hour else at.replace(hour=0)
    found = []
    while at <= figures.until:
        found.append(_bucket(at, by_hour=figures.by_hour))
        at += step
    return found


def _bucket(at: datetime, *, by_hour: bool) -> str:
    return at.strftime("%Y-%m-%dT%H:00" if by_hour else "%Y-%m-%d")


def _instant(bucket: str) -> str:
    """A bucket's beginning as a browser reads it: without a zone it would be local time."""
    return f"{bucket}:00Z" if "T" in bucket else f"{bucket}T00:00:00Z"


def _chart(values: Values, *, height: int = HEIGHT) -> Chart:
    """A chart without marks. Draw it in a layer: Streamlit gives single ones an empty margin."""
    data: Any = {"values": values}
    return alt.Chart(data, height=height)


def _time(figures: Figures) -> alt.X:
    if not figures.by_hour:
        return _days()
    return alt.X("utcyearmonthdatehours(at):O", title=None, axis=_under_bars("%H:%M"))


def _days() -> alt.X:
    return alt.X("utcyearmonthdate(at):O", title=None, axis=_under_bars("%-d %b"))


def _under_bars(time_format: str) -> alt.Axis:
    """Labels in the middle of their bars; those for which there is no room are left out."""
    label = f"utcFormat(datum.value, '{time_format}')"
    return alt.Axis(labelExpr=label, labelAngle=0, labelOverlap="parity", labelSeparation=8,
                    ticks=False)  # fmt: skip


def _when(figures: Figures) -> alt.Tooltip:
    if figures.by_hour:
        return alt.Tooltip("utcyearmonthdatehours(at):T", title="hour", format="%-d %b, %H:%M UTC")
    return alt.Tooltip("utcyearmonthdate(at):T", title="day", format="%-d %b %Y")


def _counts() -> alt.Axis:
    return alt.Axis(labelExpr=AS_NUMBER, tickMinStep=1, tickCount=5)


def _legend(**more: Any) -> alt.Legend:
    return alt.Legend(orient="top", labelLimit=200, offset=8, padding=0, **more)
