"""A dead letter is replayed by the dataflow, which an operator's page or command asks for it.

The page cannot do it itself: a client that may publish what a dead letter holds can speak as
anybody.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import nats.errors

from shared import names, user_names
from shared.bus import Bus

WITHIN_S: Final = 5.0

QUEUE: Final = "dataflow"

OUTCOME: Final = "Threadwax-Outcome"
"""The header of the dataflow's answer; the text is for people."""

NO_ANSWER: Final = "Not replayed: the dataflow does not answer. Start it, and try again."

NOBODY_WAITS: Final = "Cannot be replayed: its sender no longer waits for an answer."
NOT_OURS: Final = "Cannot be replayed: it is neither an event nor an answer."


class Outcome(StrEnum):
    """What became of a dead letter that was to be replayed."""

    REPLAYED = "replayed"
    GONE = "gone"
    """It was replayed or dropped before, or has expired."""
    REFUSED = "refused"
    """It can never be replayed."""
    LATER = "later"
    """NATS or the dataflow does not do it now."""


@dataclass(frozen=True, slots=True)
class Replay:
    """An outcome, and a sentence about it."""

    outcome: Outcome
    text: str


def why_not(subject: str) -> str | None:
    """Why a dead letter on this subject can never be replayed; None if its content decides."""
    if subject == names.dead_letter_subject(names.GATEWAY_SUBJECT):
        return NOBODY_WAITS
    try:
        platform, _ = user_names.split_user(names.user_of_dead_letter(subject))
    except user_names.BadName:
        return NOT_OURS
    is_reply = subject.startswith(names.DEAD_REPLIES)
    return NOBODY_WAITS if is_reply and platform == "gateway" else None


async def replay(bus: Bus, sequence: int) -> Replay:
    """Has one dead letter replayed."""
    try:
        answer = await bus.client.request(
            names.REPLAY_SUBJECT, str(sequence).encode(), timeout=WITHIN_S
        )
        outcome = Outcome((answer.headers or {}).get(OUTCOME, ""))
    except (nats.errors.Error, TimeoutError, ValueError):
        return Replay(Outcome.LATER, NO_ANSWER)
    return Replay(outcome, answer.data.decode(errors="replace"))
