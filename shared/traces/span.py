"""What a step can say about itself while it is measured. Imports nothing of OpenTelemetry."""

from collections.abc import Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from shared.traces.ids import SpanIds

if TYPE_CHECKING:
    from shared.replies import Usage


class Span:
    """A step that is being measured. This one stands for it while traces are off: it does nothing.

    As a context manager it ends with its block, and spans that begin in the block belong to it.
    """

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers with which a message names this span as its cause."""
        return {}

    def set(self, name: str, value: float | str) -> None:
        """Sets an attribute, which must not hold anything that people wrote."""

    def tried(self) -> None:
        """Counts a try; more than one is an attribute."""

    def stored(self, *, new: bool) -> None:
        """Records that the message of this span is stored; not `new`: another one came first."""

    def first_text(self) -> None:
        """Records that the first text of a model's answer has arrived."""

    def answered(self, finish: str, usage: "Usage | None") -> None:
        """Records why a model's answer ended, empty if it did not, and its tokens."""

    def fail(self, why: str) -> None:
        """Records a failure. `why` is one of a few fixed reasons."""

    def end(self) -> None:
        """Ends it now; later calls change nothing."""

    def drop(self) -> None:
        """Forgets it: it turned out that nothing was done."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends it."""


OFF: Final = Span()

caller: ContextVar[SpanIds | None] = ContextVar("caller", default=None)
"""The span of a client that asks, to which the question is linked."""
