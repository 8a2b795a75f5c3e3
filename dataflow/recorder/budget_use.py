"""What the recorded answers used of the configured budgets.

Reads only. It must never report a limit that may not be the one of that person.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from shared.budgets import Budgets, Limits
from shared.database.usage import MICRO, Total, usage
from shared.figures import BudgetUse, Limited
from shared.messages import Place
from shared.prices import Price

LISTED: Final = 10
"""The limits that are used most."""


def budget_use(
    connection: sa.Connection, budgets: Budgets, prices: Mapping[str, Price], now: datetime
) -> BudgetUse:
    """The limits that are used most, in the present day and month of UTC. Blocks."""
    found: list[Limited] = []
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for period, since in (("day", midnight), ("month", midnight.replace(day=1))):
        limited_people = [*budgets.users.values(), budgets.each_user]
        people: Mapping[str, Total] = {}
        places: Mapping[str, Total] = {}
        if _any_limit(limited_people, period):
            people = usage(connection, "user", since, prices)
        if _any_limit(budgets.places.values(), period):
            places = _by_budget(budgets, usage(connection, "place", since, prices))
        for whose, total in people.items():
            limits = budgets.users.get(whose)
            if limits is None and not budgets.roles:
                limits = budgets.each_user
            if limits is not None:
                found += _limited(whose, limits, total, period)
        for whose, total in places.items():
            found += _limited(whose, budgets.places[whose], total, period)
    found.sort(key=lambda one: (-one.used / one.of, one.whose, one.limit))
    return BudgetUse(limits=tuple(found[:LISTED]), people_unknown=bool(budgets.roles))


def _any_limit(several: Iterable[Limits], period: str) -> bool:
    """Whether there is anything to compare with: reading the database takes time."""
    names = (f"tokens_per_{period}", f"dollars_per_{period}")
    return any(getattr(limits, name) is not None for limits in several for name in names)


def _by_budget(budgets: Budgets, places: Mapping[str, Total]) -> dict[str, Total]:
    """What was used in each place with a budget."""
    totals: dict[str, Total] = {}
    for key, total in places.items():
        platform, _, rest = key.partition("/")
        space, slash, channel = rest.rpartition("/")
        if not slash:
            continue  # the question was not recorded
        place = Place(platform=platform, space=space, channel=channel, audience="public")
        if (whose := budgets.place_of(place)) is not None:
            totals.setdefault(whose, Total()).add(total)
    return totals


def _limited(whose: str, limits: Limits, total: Total, period: str) -> Iterator[Limited]:
    """The limits of a day or a month. As in the budgets, what has no price costs nothing."""
    tokens = sum(
        (total.prompt_tokens, total.completion_tokens, total.background_prompt_tokens,
         total.background_completion_tokens)
    )  # fmt: skip
    dollars = (total.microdollars + total.background_microdollars) / MICRO
    for unit, used in (("tokens", float(tokens)), ("dollars", dollars)):
        name = f"{unit}_per_{period}"
        if (limit := getattr(limits, name)) is not None:
            yield Limited.model_validate(
                {"whose": whose, "limit": name, "used": used, "of": float(limit)}
            )
