"""What there is to judge: what was said, stored, answered and shown. Pure."""

from dataclasses import dataclass, field
from datetime import datetime

from tests.chaos.model import Answer
from tests.chaos.said import Said, Spot


@dataclass(frozen=True, slots=True)
class Event:
    """One event as the stream holds it; `about` is the prompt that it names, if it names one.

    `fills_placeholder`: its answer stands where the platform put a placeholder at once.
    """

    sequence: int
    id: str
    kind: str
    user: str
    spot: Spot
    text: str
    about: str
    said_at: datetime
    shown_at: str
    fills_placeholder: bool = False
    files: tuple[str, ...] = ()
    """As a later request names them."""

    @property
    def wants_answer(self) -> bool:
        """Whether it must have exactly one reply."""
        return self.kind in {"ask", "again"}


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply as the journal holds it; `after` is the prompt whose reply it names."""

    sequence: int
    prompt_id: str
    user: str
    outcome: str
    text: str
    question: str
    after: str | None = None


@dataclass
class World:
    """Everything at one moment. `shown` holds by place what people read of the bot, in order."""

    said: dict[int, Said] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    shown: dict[str, list[str]] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    last_questions: set[int] = field(default_factory=set)
    model_failed: bool = False
    unread: dict[str, int] = field(default_factory=dict)
    """By consumer, what it has not read or acknowledged."""
    dead_letters: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    """Processes that ended by themselves, placeholders left behind, and the like."""
