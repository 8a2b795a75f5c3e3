"""The limits of `THREADWAX_BUDGETS`: how many tokens and dollars people and places have.

Pure. It must never grant more than the setting says: an unknown name in it is an error.
"""

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import NoDecode

from shared import user_names
from shared.setting_kinds import from_json, text_of_file

if TYPE_CHECKING:  # every process reads its settings, and not all of them need the messages
    from shared.messages import Place

_ROLE: Final = re.compile(r"[a-z][a-z0-9]*:[A-Za-z0-9_-]{1,200}")
_PLACE: Final = re.compile(r"[a-z][a-z0-9]*(:[A-Za-z0-9_.-]{1,200})?")


def _user(value: str) -> str:
    try:
        user_names.split_user(value)
    except user_names.BadName:
        raise ValueError(
            "it is not a user: write it as in the logs, for example slack:T012AB3CD-U045EF6GH"
        ) from None
    return value


def _role(value: str) -> str:
    if not _ROLE.fullmatch(value):
        raise ValueError("it is not a role: write slack:guest or discord:the role's id")
    return value


def _place(value: str) -> str:
    if not _PLACE.fullmatch(value):
        raise ValueError(
            "it is not a place: write slack:C012AB3CD, discord:the id of a channel or server, or "
            "a platform alone"
        )
    return value


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Tokens = Annotated[int, Field(strict=True, gt=0, le=10**15)]
Dollars = Annotated[Decimal, Field(gt=0, le=10**9, allow_inf_nan=False)]


class Limits(_Part):
    """At most this much per day and month in UTC; None: no limit."""

    tokens_per_day: Tokens | None = None
    tokens_per_month: Tokens | None = None
    dollars_per_day: Dollars | None = None
    dollars_per_month: Dollars | None = None


class Budgets(_Part):
    """All limits.

    `each_user` is for every person, unless `roles` or `users` name them. `roles` limits each person
    with the role, not all of them together. A place is a channel, a workspace or server, or a whole
    platform, and its limits are shared by everybody there.
    """

    each_user: Limits = Limits()
    users: dict[Annotated[str, AfterValidator(_user)], Limits] = Field(default_factory=dict)
    roles: dict[Annotated[str, AfterValidator(_role)], Limits] = Field(default_factory=dict)
    places: dict[Annotated[str, AfterValidator(_place)], Limits] = Field(default_factory=dict)

    def __bool__(self) -> bool:
        return self != NO_BUDGETS

    @property
    def limit_dollars(self) -> bool:
        """Whether any limit is in dollars, so that prices matter."""
        everyone = (self.each_user, *self.users.values(), *self.roles.values())
        return any(
            limits.dollars_per_day or limits.dollars_per_month
            for limits in (*everyone, *self.places.values())
        )

    def roles_on(self, platform: str) -> frozenset[str]:
        """The roles of a platform that have limits: an adapter reports no others."""
        return frozenset(
            role for name in self.roles for on, role in [name.split(":", 1)] if on == platform
        )

    def place_of(self, place: "Place") -> str | None:
        """The narrowest entry of `places` for a place: channel, then space, then platform."""
        if not self.places:
            return None
        platform = place.platform
        space = place.space.partition("/")[0]  # in Slack, the channel comes after the workspace
        for name in (f"{platform}:{place.channel}", f"{platform}:{space}", platform):
            if name in self.places:
                return name
        return None


NO_BUDGETS: Final = Budgets()

BudgetSetting = Annotated[
    Budgets, NoDecode, BeforeValidator(from_json), BeforeValidator(text_of_file)
]


def most_generous(several: list[Limits]) -> Limits:
    """For each kind of limit the largest one; none if any of them has none."""
    largest = {}
    for name in Limits.model_fields:
        values = [getattr(limits, name) for limits in several]
        largest[name] = None if None in values else max(values)
    return Limits(**largest)
