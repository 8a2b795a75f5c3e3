"""A dead letter is replayed by the dataflow, which an operator's page asks for it.

The page cannot do it itself: who may publish what a dead letter holds can speak as anybody.
"""

from typing import Final

import nats.errors

from shared import names
from shared.bus import Bus

WITHIN_S: Final = 5.0

QUEUE: Final = "dataflow"

NO_ANSWER: Final = "Not replayed: the dataflow does not answer."


def can_be_replayed(subject: str) -> bool:
    """Whether a dead letter is something that a person said or did; others are replies."""
    return subject.startswith(names.DEAD_PROMPTS)


async def replay(bus: Bus, sequence: int) -> str:
    """Has one dead letter replayed; returns what became of it in one sentence."""
    try:
        answer = await bus.client.request(
            names.REPLAY_SUBJECT, str(sequence).encode(), timeout=WITHIN_S
        )
    except nats.errors.Error:
        return NO_ANSWER
    return answer.data.decode(errors="replace")
