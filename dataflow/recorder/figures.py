"""Computes figures from the database, for the dashboard and for a person's own usage.

Reads only. A cost that is not known must never become zero, nor one person's rows count for
another.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from dataflow.effects import BROKEN_OFF
from dataflow.recorder import figures_queries as queries
from dataflow.recorder.budget_use import budget_use
from shared.budgets import Budgets
from shared.database.usage import NO_MODEL, Total, usage
from shared.database.usage_queries import By
from shared.figures import (
    OTHERS,
    UNANSWERED,
    Figures,
    Messages,
    NoticeCount,
    OwnUsage,
    People,
    Range,
    Rated,
    ServerFigures,
    Stage,
    Used,
)
from shared.prices import Price

OPEN_FOR: Final = timedelta(days=1)
"""An older question without an answer is not waited for."""

NOTICES_LIMIT: Final = 10
NOTICE_CHARS: Final = 300
GROUPS_LIMIT: Final = 20
"""Models and places with the most tokens; the others are added up."""


_NUMBER: Final = re.compile(r"\d[\d,.:]*(?<![,.:])")
_BROKEN_OFF: Final = BROKEN_OFF.partition("{")[0].strip()


def figures_of(
    connection: sa.Connection,
    wanted: Range,
    now: datetime,
    *,
    prices: Mapping[str, Price],
    budgets: Budgets,
    server: ServerFigures,
) -> Figures:
    """Everything on the dashboard. Blocks."""
    since, by_hour, dialect = wanted.since(now), wanted.by_hour, connection.dialect.name

    def rows(statement: sa.Select[Any]) -> list[Mapping[str, Any]]:
        return [dict(row) for row in connection.execute(statement).mappings()]

    def used(by: By) -> list[Used]:
        return used_by(usage(connection, by, since, prices))

    (waiting,) = rows(queries.open_questions(now - OPEN_FOR))
    by_day = used("day")
    return Figures(
        since=since,
        until=now,
        by_hour=by_hour,
        messages=tuple(
            Messages(**row) for row in rows(queries.messages(dialect, since, by_hour=by_hour))
        ),
        people=tuple(People(**row) for row in rows(queries.people(since))),
        stages=stages(connection.execute(queries.durations(dialect, since)).all()),
        outcomes={row["outcome"]: row["count"] for row in rows(queries.outcomes(since))},
        notices=notices(rows(queries.notices(since, _BROKEN_OFF))),
        rated=tuple(Rated(**row) for row in rows(queries.rated(dialect, since, by_hour=by_hour))),
        rated_by_model=tuple(Rated(**row) for row in rows(queries.rated_by_model(since))),
        total=added("total", by_day),
        by_model=tuple(most_used(used("model"))),
        by_place=tuple(most_used(used("place"))),
        by_day=tuple(by_day),
        open_questions=waiting["count"],
        oldest_open_s=_age_s(waiting["oldest"], now),
        budgets=budget_use(connection, budgets, prices, now) if budgets else None,
        server=server,
    )


def own_usage_of(
    connection: sa.Connection,
    user: str,
    wanted: Range,
    prices: Mapping[str, Price],
    now: datetime,
) -> OwnUsage:
    """What one person asked, and what it used. Blocks."""
    since = wanted.since(now)
    by_day = used_by(usage(connection, "day", since, prices, user))
    by_model = used_by(usage(connection, "model", since, prices, user))
    return OwnUsage(
        since=since,
        until=now,
        total=added("total", by_day),
        by_day=tuple(by_day),
        by_model=tuple(most_used(by_model)),
    )


def used_by(totals: Mapping[str, Total]) -> list[Used]:
    """The groups of a report, calls for summaries included."""
    return [_used(UNANSWERED if key == NO_MODEL else key, total) for key, total in totals.items()]


def _used(key: str, total: Total) -> Used:
    unknown = total.without_price + total.background_without_price + total.without_usage
    microdollars = total.microdollars + total.background_microdollars
    return Used(
        key=key,
        questions=total.questions,
        input_tokens=total.prompt_tokens + total.background_prompt_tokens,
        output_tokens=total.completion_tokens + total.background_completion_tokens,
        cost_microdollars=None if unknown and not microdollars else microdollars,
        of_unknown_cost=unknown,
    )


def added(key: str, groups: Iterable[Used]) -> Used:
    """Several groups as one."""
    groups = list(groups)
    unknown = sum(group.of_unknown_cost for group in groups)
    microdollars = sum(group.cost_microdollars or 0 for group in groups)
    return Used(
        key=key,
        questions=sum(group.questions for group in groups),
        input_tokens=sum(group.input_tokens for group in groups),
        output_tokens=sum(group.output_tokens for group in groups),
        cost_microdollars=None if unknown and not microdollars else microdollars,
        of_unknown_cost=unknown,
    )


def most_used(groups: list[Used]) -> list[Used]:
    """The groups with the most tokens, those with the most first; the others as one."""
    ordered = sorted(groups, key=lambda one: (-one.input_tokens - one.output_tokens, one.key))
    if len(ordered) <= GROUPS_LIMIT:
        return ordered
    kept = ordered[: GROUPS_LIMIT - 1]
    return [*kept, added(OTHERS, ordered[GROUPS_LIMIT - 1 :])]


def stages(rows: Sequence[Sequence[Any]]) -> tuple[Stage, ...]:
    """Percentiles of each stage, over the rows in which its times are known.

    Clocks of several machines differ, so a time can be negative: it counts as 0.
    """
    found = []
    for number, (name, _, _) in enumerate(queries.STAGES):
        known = sorted(max(0.0, float(row[number])) for row in rows if row[number] is not None)
        if known:
            p50, p95, p99 = (_percentile(known, share) for share in (0.5, 0.95, 0.99))
            found.append(Stage(name=name, answers=len(known), p50_ms=p50, p95_ms=p95, p99_ms=p99))
    return tuple(found)


def _percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that this share of all values does not exceed."""
    return round(ordered[math.ceil(share * len(ordered)) - 1], 1)


def notices(rows: Iterable[Mapping[str, Any]]) -> tuple[NoticeCount, ...]:
    """The most frequent notices; those that differ only in numbers are the same."""
    counts: Counter[tuple[str, str]] = Counter()
    for row in rows:
        text = _NUMBER.sub("…", " ".join(row["notice"].split()))[:NOTICE_CHARS]
        counts[text, row["outcome"]] += row["count"]
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return tuple(
        NoticeCount.model_validate({"text": text, "outcome": outcome, "count": count})
        for (text, outcome), count in ordered[:NOTICES_LIMIT]
    )


def _age_s(at: datetime | None, now: datetime) -> float | None:
    return None if at is None else max(0.0, (now - at).total_seconds())
