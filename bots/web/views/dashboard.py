"""The operators' dashboard: figures of a time range, which refresh themselves.

Imported only when it is opened. Everything comes from the recorder: this process has no access to
the database. It shows no words of people.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import streamlit as st

from bots.web.current import current
from bots.web.views import charts
from bots.web.views.amounts import age, count, milliseconds, money, unknown_costs
from bots.web.views.look import WIDE, time_range
from bots.web.views.server_cards import server_cards
from bots.web.views.use_tables import limits, notices, rated_models, used_by
from shared.figures import Figures, Range
from shared.operators_figures import operators_figures
from shared.own_history import NotNow

NONE: Final = "-"
HALF: Final = "From the call of the model; half of the answers took no longer."
OPEN: Final = "Questions of the last 24 hours without an answer."
CHARTED_DAYS: Final = 4
"""Fewer days are a table."""

REFRESH_S: Final = 10.0
WITHIN_S: Final = 35.0
"""Longer than the recorder is waited for."""


LAST: Final = "figures"
"""The key in the session's state of the figures that were shown last."""


def dashboard() -> None:
    """Draws the page."""
    st.html(WIDE)
    with st.container(
        horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"
    ):
        st.header("Dashboard", anchor=False, width="content")
        hours = time_range()
    _live(hours)


@st.fragment(run_every=REFRESH_S)
def _live(hours: int) -> None:
    if LAST in st.session_state:
        figures, why_not = _figures(hours)
    else:
        with st.spinner("Reading the figures"):
            figures, why_not = _figures(hours)
    if why_not:
        st.warning(why_not, icon=":material/cloud_off:")
    if figures is not None:
        _draw(figures)


def _figures(hours: int) -> tuple[Figures | None, str]:
    """The newest figures, or those from before, and why they could not be refreshed."""
    here = current()
    last: Figures | None
    known_hours, last = st.session_state.get(LAST, (0, None))
    try:
        found = here.web.call(operators_figures(here.bus, Range(hours=hours))).result(WITHIN_S)
    except NotNow:
        if known_hours != hours or last is None:
            return None, (
                "The recorder does not answer, so there are no figures now. This page tries again "
                "by itself. `threadwax doctor` says what is wrong."
            )
        since = (datetime.now(UTC) - last.until).total_seconds()
        return last, f"The recorder does not answer. These figures are {age(since)} old."
    st.session_state[LAST] = (hours, found)
    return found, ""


def _draw(figures: Figures) -> None:
    _summary(figures)
    if not figures.messages and not figures.outcomes:
        st.info(
            "Nothing was recorded in this time. Ask something in the chat, or choose a longer one.",
            icon=":material/hourglass_empty:",
        )
    else:
        _activity(figures)
        _use(figures)
    server_cards(figures.server, figures.until)
    st.caption(
        f"As of {figures.until:%H:%M:%S} UTC, refreshed every {REFRESH_S:.0f} seconds. "
        "Days and hours are those of UTC."
    )


def _summary(figures: Figures) -> None:
    outcomes = figures.outcomes
    ended = sum(outcomes.values())
    stage = {one.name: one for one in figures.stages}
    first, whole = stage.get("first token"), stage.get("complete")
    oldest = figures.oldest_open_s
    open_for = "" if oldest is None else f"the oldest for {age(oldest)}"
    with st.container(horizontal=True, key="summary"):
        _number("Messages", count(sum(one.messages for one in figures.messages)))
        _number("People", count(sum(one.people for one in figures.people)))
        _number("First text", milliseconds(first.p50_ms) if first else NONE, help_=HALF)
        _number("Whole answer", milliseconds(whole.p50_ms) if whole else NONE, help_=HALF)
        _number("Answered", f"{outcomes.get('answered', 0) / ended:.1%}" if ended else NONE)
        _number("Cost, US $", money(figures.total), help_=unknown_costs(figures.total))
        _number("Waiting now", count(figures.open_questions), below=open_for, help_=OPEN)


def _number(label: str, value: str, *, below: str = "", help_: str = "") -> None:
    st.metric(
        label, value, below or None, delta_color="off", delta_arrow="off", border=True,
        help=help_ or None, height="stretch",
    )  # fmt: skip


def _activity(figures: Figures) -> None:
    per = "hour" if figures.by_hour else "day"
    with _card(f"Messages per {per}"):
        _chart(charts.messages(figures))
    left, right = st.columns([3, 2])
    with left, _card("Time per step", "this share of answers took at most this long"):
        if figures.stages:
            _chart(charts.stages(figures.stages))
        else:
            st.caption("No answer was timed yet.")
    with right, _card("How questions ended", "number and share of answers"):
        _chart(charts.outcomes(figures.outcomes))
    left, right = st.columns([3, 2])
    with left, _card(f"Ratings per {per}", "thumbs up above the line, down below"):
        if figures.rated:
            _chart(charts.ratings(figures))
            rated_models(figures.rated_by_model)
        else:
            st.caption("Nobody rated an answer in this time.")
    with right, _card("Notices instead of answers", "how many people got each"):
        if figures.notices:
            notices(figures.notices)
        else:
            st.caption("None: every question was answered.")


def _use(figures: Figures) -> None:
    if len(charts.days(figures)) < CHARTED_DAYS:
        with _card("Days", "tokens, and US dollars"):
            used_by("Day", figures.by_day[::-1])
    else:
        left, right = st.columns(2)
        with left, _card("Tokens per day", "calls for summaries included"):
            _chart(charts.tokens(figures))
        with right, _card("Cost per day", "US dollars, as far as it is known"):
            _chart(charts.costs(figures))
    left, right = st.columns(2)
    with left, _card("Models", "tokens, and US dollars"):
        used_by("Model", figures.by_model)
    with right, _card("Places", "tokens, and US dollars"):
        used_by("Place", figures.by_place)
    if why := unknown_costs(figures.total):
        st.caption(why)
    if (budgets := figures.budgets) is not None:
        with _card("Budgets", "used of each limit, the fullest first"):
            limits(budgets)


@contextmanager
def _card(title: str, unit: str = "") -> Iterator[None]:
    """A bordered part of the page; what it shows, and in which unit."""
    with st.container(border=True, height="stretch"):
        st.markdown(f"**{title}**" + (f" :gray[· {unit}]" if unit else ""))
        yield


def _chart(chart: Any) -> None:
    st.altair_chart(chart, width="stretch")
