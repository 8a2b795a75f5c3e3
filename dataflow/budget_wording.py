"""The sentences in which people and operators read about budgets.

Pure. Each refusal says which budget it is, how much of it is used, and when it renews.
"""

from datetime import datetime, timedelta
from typing import Final

from dataflow.budget import MICRODOLLARS, Limit, Period, Shortage, Unit

_PERIODS: Final[dict[Period, str]] = {"day": "today", "month": "this month"}
_LENGTHS: Final[dict[Period, str]] = {"day": "a day", "month": "a month"}

CENTS_FROM: Final = MICRODOLLARS // 10
"""Smaller amounts are written with four decimals."""

AN_HOUR: Final = timedelta(hours=1)
A_MINUTE: Final = timedelta(minutes=1)
TWO_DAYS: Final = timedelta(days=2)


def refusal(shortage: Shortage, whose: str, now: datetime) -> str:
    """Tells a person why the model is not asked; `whose` begins the sentence: "Your budget"."""
    limit = shortage.limit
    most, needs = amount(limit.most, limit.unit), amount(shortage.needs, limit.unit)
    if shortage.needs > limit.most:
        return (
            f"{whose} for {_LENGTHS[limit.period]} is {most}, and an answer to this question can "
            f"take up to {needs}. A shorter question may fit. Otherwise, please let whoever runs "
            "this bot know."
        )
    used = amount(shortage.used, limit.unit)
    renews = f"It renews {_renewal(shortage.renews_at, now)}."
    if shortage.used >= limit.most:
        return (
            f"{whose} for {_PERIODS[limit.period]} is used up: {used} of {most}. {renews} Please "
            "ask again then."
        )
    if shortage.used + shortage.needs <= limit.most:
        return (
            f"{whose} for {_PERIODS[limit.period]} has no room for another question before the "
            f"ones in progress are answered: {used} of {most} are used, "
            f"{amount(shortage.held, limit.unit)} are held for answers in progress. Please ask "
            f"again after them. {renews}"
        )
    return (
        f"{whose} for {_PERIODS[limit.period]} has no room for this question: {used} of {most} are "
        f"used, and an answer can take up to {needs}. {renews} Please ask again then."
    )


def amount(number: int, unit: Unit) -> str:
    """Tokens, or microdollars in dollars."""
    if unit == "tokens":
        return f"{number:,} tokens"
    dollars = number / MICRODOLLARS
    return f"${dollars:,.2f}" if number >= CENTS_FROM or not number else f"${dollars:.4f}"


def limit_name(limit: Limit) -> str:
    """The name of a limit for operators: as in the setting."""
    return f"{limit.unit}_per_{limit.period}"


def _renewal(at: datetime, now: datetime) -> str:
    left = at - now
    if left > TWO_DAYS:
        return f"on {at.day} {at:%B} at 00:00 UTC"
    hours, minutes = left // AN_HOUR, max(1, left // A_MINUTE)
    count, unit = (hours, "hour") if hours else (minutes, "minute")
    plural = "" if count == 1 else "s"
    return f"at 00:00 UTC, in about {count} {unit}{plural}"
