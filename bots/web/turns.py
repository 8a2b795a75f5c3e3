"""What a page shows of conversations: turns, each a question and how far its answer is.

Pure. A turn is never changed: a newer one with the same id replaces it, so that showing an answer
twice shows nothing twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal, NamedTuple

from shared.messages import Again, Ask, Edited
from shared.replies import Outcome, Partial, Reply

TITLE_CHARS: Final = 48
UNTITLED: Final = "New conversation"
SENDING: Final = "Sending …"
"""The status of an answer whose question is not stored yet, so a crash could lose it."""

Thumb = Literal["up", "down", "none"]
Asking = Ask | Again | Edited
"""The events that ask a question."""


@dataclass(frozen=True, slots=True)
class Growing:
    """The answer is awaited. `status` says why there is no text yet."""

    text: str = ""
    status: str = ""
    newest: tuple[int, int] = (0, -1)
    """Attempt and sequence of the partial that is shown."""

    def after(self, partial: Partial) -> "Growing":
        """The answer after one more partial, which may be older than the one shown."""
        at = (partial.attempt, partial.sequence)
        return Growing(partial.text, partial.status, at) if at > self.newest else self


@dataclass(frozen=True, slots=True)
class Finished:
    """The reply, as it is in the journal."""

    text: str
    outcome: Outcome
    model: str = ""


class Upload(NamedTuple):
    """A file as the browser sent it."""

    name: str
    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Unsent:
    """The question is not stored. The same event can be sent again: its id prevents a double."""

    why: str
    event: Asking
    uploads: tuple[Upload, ...] = ()


Answer = Growing | Finished | Unsent


@dataclass(frozen=True, slots=True)
class Turn:
    """A question of a conversation, and its answer."""

    id: str
    conversation: str
    question: str
    said_at: datetime
    answer: Answer
    files: tuple[str, ...] = ()
    replaces: str | None = None
    """The turn whose question was edited, or is answered again."""
    thumb: Thumb = "none"


class Conversation(NamedTuple):
    """An entry of the list of conversations."""

    id: str
    title: str
    said_at: datetime
    """When its latest question was asked."""


def finished_by(reply: Reply, before: Turn | None) -> Turn:
    """The turn of a reply; `before` is what was known of it."""
    answer = Finished(reply.text, reply.outcome, reply.model)
    question = reply.prompt_text or (before.question if before else "")
    if before is None:
        return Turn(reply.prompt_id, reply.place.thread, question, reply.said_at, answer)
    return Turn(
        before.id, before.conversation, question, before.said_at, answer, before.files,
        before.replaces, before.thumb,
    )  # fmt: skip


def completed(turn: Turn, recorded: Turn | None) -> Turn:
    """A turn with what only the database knows of it, if its question was asked elsewhere."""
    if recorded is None:
        return turn
    return replace(
        turn, files=turn.files or recorded.files, replaces=turn.replaces or recorded.replaces
    )


def shown(turns: Mapping[str, Turn], conversation: str) -> list[Turn]:
    """The turns of one conversation in the order of their questions.

    A turn that replaces another one takes its position.
    """
    replaced = {turn.replaces for turn in turns.values() if turn.replaces}
    latest = [
        turn for turn in turns.values()
        if turn.conversation == conversation and turn.id not in replaced
    ]  # fmt: skip
    return sorted(latest, key=lambda turn: (_first_of(turn, turns).said_at, turn.id))


def conversations(turns: Mapping[str, Turn], titles: Mapping[str, str]) -> list[Conversation]:
    """All conversations, the latest first. Without a title, one is called by its first question."""
    by_id: dict[str, list[Turn]] = {}
    for turn in turns.values():
        by_id.setdefault(turn.conversation, []).append(turn)
    found = [
        Conversation(
            id_, titles.get(id_) or _title_of(of_it), max(turn.said_at for turn in of_it)
        )
        for id_, of_it in by_id.items()
    ]  # fmt: skip
    return sorted(found, key=lambda conversation: conversation.said_at, reverse=True)


def _title_of(turns: Iterable[Turn]) -> str:
    first = min(turns, key=lambda turn: turn.said_at)
    words = " ".join(first.question.split()) or ", ".join(first.files) or UNTITLED
    return words if len(words) <= TITLE_CHARS else f"{words[: TITLE_CHARS - 1].rstrip()}…"


def _first_of(turn: Turn, turns: Mapping[str, Turn]) -> Turn:
    """The turn that was asked first, of those that replace each other."""
    seen = {turn.id}
    while turn.replaces and turn.replaces not in seen and turn.replaces in turns:
        turn = turns[turn.replaces]
        seen.add(turn.id)
    return turn
