"""The values that the checker judges: messages said, stored, answered and shown. Pure."""

from dataclasses import dataclass, field
from datetime import datetime

from tests.chaos.model import Answer
from tests.chaos.said import Said, Spot


@dataclass(frozen=True, slots=True)
class Event:
    """One stored event. `about`: the prompt that it refers to, or "".

    `fills_placeholder`: its answer replaces something that was shown before: a placeholder, or the
    older answer on the web page.
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
    """The files, as a later request names them."""

    @property
    def wants_answer(self) -> bool:
        """Whether it must have exactly one reply."""
        return self.kind in {"ask", "again"}


@dataclass(frozen=True, slots=True)
class Reply:
    """One journaled reply. `after`: the prompt of the preceding reply."""

    sequence: int
    prompt_id: str
    user: str
    outcome: str
    text: str
    question: str
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """The recorder's rows by prompt id. A text is None if its words were erased."""

    questions: dict[str, str | None]
    answers: dict[str, tuple[str, str | None]]
    """Outcome and text."""


@dataclass
class World:
    """Everything at one moment. `shown`: the bot's visible texts by place, in order."""

    said: dict[int, Said] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    shown: dict[str, list[str]] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    on_pages: dict[str, set[int]] = field(default_factory=dict)
    """By person on the web page: the acts whose question or answer was ever on it."""
    last_questions: set[int] = field(default_factory=set)
    model_failed: bool = False
    unread: dict[str, int] = field(default_factory=dict)
    """By consumer: how many replies it has not read or acknowledged."""
    dead_letters: list[str] = field(default_factory=list)
    recorded: Recorded | None = None
    """None: no recorder runs."""
    trouble: list[str] = field(default_factory=list)
    """Processes that ended by themselves, placeholders left behind, and the like."""
