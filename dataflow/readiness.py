"""Whether the dataflow would answer a question now, and if not, the reason in plain words."""

from collections.abc import Callable
from typing import Final, Protocol

from dataflow.journal_capacity import JournalCapacity
from dataflow.model.health import ModelHealth
from shared import metrics
from shared.bus import Bus
from shared.stream_leaders import StreamLeaders

Ready = Callable[[], tuple[bool, str]]

NOT_WELL: Final = "the store of conversations does not answer, or the worker does not move"
NO_PARTITION: Final = "no partition is served here: other processes serve all of them"
NO_ROOM: Final = "the stream of replies is nearly full: questions get a notice, not an answer"


class Serving(Protocol):
    """This process's share of the partitions."""

    @property
    def is_well(self) -> bool:
        """Whether its worker moves and its store answers."""

    @property
    def held(self) -> list[int]:
        """The partitions that it serves."""


def readiness(
    bus: Bus,
    leaders: StreamLeaders,
    model: ModelHealth,
    capacity: JournalCapacity,
    assignment: Serving,
) -> Ready:
    """A function that says whether the parts work. Call both from the asyncio thread."""
    metrics.model_failing_s.set_function(lambda: model.failing_s)

    def ready() -> tuple[bool, str]:
        trouble = (
            bus.trouble
            or leaders.trouble
            or bus.storing_trouble
            or ("" if assignment.is_well else NOT_WELL)
            or ("" if assignment.held else NO_PARTITION)
            or (NO_ROOM if capacity.nearly_full else "")
            or model.trouble
        )
        return not trouble, trouble or "ok"

    return ready
