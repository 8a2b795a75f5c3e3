"""What each person did, and what the platform knows about it.

The checker compares it with the streams. Pure.
"""

from dataclasses import dataclass, field
from typing import Literal

from tests.chaos.plan import Act

Audience = Literal["direct", "private", "public"]


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a message is written, independent of the product's own `Place`."""

    platform: str
    space: str
    channel: str
    thread: str
    audience: Audience


def may_hear(said_in: Spot, here: Spot) -> bool:
    """Whether a user's messages from one place can be used in another: the README's third promise.

    The suite has its own copy of the rule, so that a mistake in the product's rule is found.
    """
    if said_in.platform != here.platform:
        return False
    if here.audience == "direct":
        return True
    return said_in.audience == here.audience and said_in.channel == here.channel


@dataclass
class Said:
    """One act that was carried out. `shown_at`: where its answer must appear.

    `accepted`: the bot has acknowledged it, or the platform delivers it until the bot does.
    """

    act: Act
    spot: Spot
    shown_at: str
    done: bool = False
    accepted: bool = False
    event_id: str = ""
    answers: list[str] = field(default_factory=list)
    """The answers that a gateway user received."""

    @property
    def wants_answer(self) -> bool:
        """Whether it is a question for the bot."""
        return self.act.what == "ask"
