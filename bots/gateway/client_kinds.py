"""The two kinds of asker, with what each may have under way at once.

Guests choose their user_ids freely, so limits for each of them would limit nothing: all of them
together have about as much as one other user.
"""

from dataclasses import dataclass
from typing import Final

from shared import names

BUSY: Final = "too many questions are under way; try again in a moment"
GUESTS_BUSY: Final = (
    "clients without credentials have too many questions under way; "
    "try again in a moment, or ask with the password of this server"
)
OVER_QUOTA: Final = "this user_id has asked as much as one user may within a day; try again later"
GUESTS_OVER_QUOTA: Final = (
    "clients without credentials have together asked as much as one user may within a day; "
    "try again later, or ask with the password of this server"
)


@dataclass(frozen=True, slots=True)
class Asker:
    """What distinguishes the two kinds of asker."""

    subject: str
    guest: bool
    storing: int
    """Requests at once between their arrival and their storage."""

    storing_of_one: int
    """Of one user, who must not keep all others waiting."""

    repeats: int
    """Requests at once that wait for the answer to a question which was asked before."""

    repeats_of_one: int
    unanswered: int | None
    """Questions at once that the model has still to answer; None: any number."""

    busy: str
    over_quota: str


CLIENTS: Final = Asker(
    subject=names.GATEWAY_SUBJECT, guest=False, storing=1000, storing_of_one=500,
    repeats=500, repeats_of_one=100, unanswered=None, busy=BUSY, over_quota=OVER_QUOTA,
)  # fmt: skip

GUESTS: Final = Asker(
    subject=names.GUESTS_SUBJECT, guest=True, storing=32, storing_of_one=32,
    repeats=32, repeats_of_one=32, unanswered=32, busy=GUESTS_BUSY, over_quota=GUESTS_OVER_QUOTA,
)  # fmt: skip
