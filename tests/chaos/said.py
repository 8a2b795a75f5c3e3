"""What a person did, and what became of it as the platform knows: the checker's half of the truth.

Pure. The other half is what the streams hold.
"""

from dataclasses import dataclass, field
from typing import Literal

from tests.chaos.plan import Act

Audience = Literal["direct", "private", "public"]


@dataclass(frozen=True, slots=True)
class Spot:
    """Where something is said, in the suite's own words."""

    platform: str
    space: str
    channel: str
    thread: str
    audience: Audience


def may_hear(said_in: Spot, here: Spot) -> bool:
    """Whether one user's words in one place may come up in another: the README's second promise.

    Written here anew, so that a mistake in the product's own rule is found.
    """
    if said_in.platform != here.platform:
        return False
    if here.audience == "direct":
        return True
    return said_in.audience == here.audience and said_in.channel == here.channel


@dataclass
class Said:
    """One act as it was carried out. `shown_at` is where its answer is to be read.

    `accepted`: the platform has the bot's acknowledgement, or will deliver until it has.
    """

    act: Act
    spot: Spot
    shown_at: str
    done: bool = False
    accepted: bool = False
    event_id: str = ""
    answers: list[str] = field(default_factory=list)
    """What an asker on plain NATS got."""

    @property
    def wants_answer(self) -> bool:
        """Whether it is a question to the bot."""
        return self.act.what == "ask"
