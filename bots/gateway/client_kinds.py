"""The two kinds of client, with and without credentials, and the limits of each.

Guests choose their user_ids freely, so a limit per user_id would not hold them back: all guests
together get about as much as one other user.
"""

from dataclasses import dataclass
from typing import Final

from shared import names

BUSY: Final = "too many questions are in progress; try again in a moment"
GUESTS_BUSY: Final = (
    "clients without credentials have too many questions in progress; "
    "try again in a moment, or ask with the password of this server"
)
OVER_QUOTA: Final = "the daily quota of this user_id is used up; try again later"
GUESTS_OVER_QUOTA: Final = (
    "the daily quota that all clients without credentials share is used up; "
    "try again later, or ask with the password of this server"
)


@dataclass(frozen=True, slots=True)
class ClientKind:
    """How one kind of client is treated. Each limit counts what is in progress at one moment."""

    subject: str
    guest: bool
    storing_limit: int
    """Requests that arrived and are not stored yet."""

    storing_limit_per_user: int
    """The same for one user, so that nobody can keep all others waiting."""

    repeats_limit: int
    """Repeated requests that wait for the answer to the first one."""

    repeats_limit_per_user: int
    open_limit: int | None
    """Stored questions without an answer; None: no limit."""

    busy: str
    over_quota: str


CLIENTS: Final = ClientKind(
    subject=names.GATEWAY_SUBJECT,
    guest=False,
    storing_limit=1000,
    storing_limit_per_user=500,
    repeats_limit=500,
    repeats_limit_per_user=100,
    open_limit=None,
    busy=BUSY,
    over_quota=OVER_QUOTA,
)

GUESTS: Final = ClientKind(
    subject=names.GUESTS_SUBJECT,
    guest=True,
    storing_limit=32,
    storing_limit_per_user=32,
    repeats_limit=32,
    repeats_limit_per_user=32,
    open_limit=32,
    busy=GUESTS_BUSY,
    over_quota=GUESTS_OVER_QUOTA,
)
