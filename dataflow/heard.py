"""What the step of a conversation hears: events, results of its effects, and where it is kept.

Pure.
"""

from dataclasses import dataclass

from dataflow.effects import LinkDone, PlaceDecision, Recalled, Summarized
from shared.messages import AnyEvent
from shared.replies import Journaled


@dataclass(frozen=True, slots=True)
class Loaded:
    """The stored conversation of a user, None if there is none: the first that a step hears.

    `answered_elsewhere`: questions that another process is still answering.
    """

    user: str
    saved: bytes | None
    answered_elsewhere: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Arrived:
    """An event from the stream."""

    event: AnyEvent
    replayed: bool
    """Whether it was stored before it was followed here, so that its reply may be in the journal
    already."""


@dataclass(frozen=True, slots=True)
class Recheck:
    """The conversation may have turns that are too old to be kept."""


@dataclass(frozen=True, slots=True)
class Leave:
    """The conversation leaves memory: it is stored, or another process has it."""


Result = Journaled | Summarized | PlaceDecision | LinkDone | Recalled
"""What comes back from the effects of a conversation."""

Heard = Loaded | Arrived | Result | Recheck | Leave
