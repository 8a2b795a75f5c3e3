"""Tables of tokens, money, ratings, notices and budgets, each about one group per row."""

from collections.abc import Iterable, Sequence
from typing import Final

import streamlit as st

from bots.web.views.amounts import count, dollars, money
from bots.web.views.tables import Bar, Cell, table
from shared.figures import OTHERS, UNANSWERED, BudgetUse, Limited, NoticeCount, Rated, Used

LIMITS: Final = {
    "tokens_per_day": "tokens today",
    "tokens_per_month": "tokens this month",
    "dollars_per_day": "US dollars today",
    "dollars_per_month": "US dollars this month",
}


def tokens_of(used: Used) -> int:
    """All tokens, read and written."""
    return used.input_tokens + used.output_tokens


def used_by(head: str, groups: Sequence[Used]) -> None:
    """What each group used; the bar compares their tokens."""
    most = max((tokens_of(one) for one in groups if one.key != OTHERS), default=0) or 1
    table(
        (head, "Questions", "", "Tokens", "Cost"),
        [
            (one.key, one.questions, Bar(tokens_of(one) / most), count(tokens_of(one)), money(one))
            for one in groups
        ],
    )


def notices(found: Iterable[NoticeCount]) -> None:
    """The notices that people got instead of answers."""
    table(("Notice", "Times"), [(one.text, one.count) for one in found])


def rated_models(found: Iterable[Rated]) -> None:
    """Ratings by model, and the share of those that are up."""
    rows: list[Sequence[Cell]] = []
    for one in found:
        share = one.up / max(1, one.up + one.down)
        rows.append((one.key or UNANSWERED, one.up, one.down, Bar(share), f"{share:.0%} up"))
    table(("Model", "Up", "Down", "", ""), rows)


def limits(budgets: BudgetUse) -> None:
    """What was used of each limit."""
    if budgets.limits:
        rows = [_limit(one) for one in budgets.limits]
        table(("Who or where", "Limit", "Used", "", ""), rows, left=(1,))
    else:
        st.caption("Nothing was used of any limit yet.")
    left_out = " Limits of single people are left out, because roles are not recorded."
    st.caption(
        "Counted from recorded answers; questions in progress are not in it."
        + (left_out if budgets.people_unknown else "")
    )


def _limit(one: Limited) -> Sequence[Cell]:
    shown = count if one.limit.startswith("tokens") else dollars
    share = one.used / one.of
    return (
        one.whose, LIMITS[one.limit], f"{shown(one.used)} of {shown(one.of)}",
        Bar(share, warn=True), f"{share:.0%}",
    )  # fmt: skip
