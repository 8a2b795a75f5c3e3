"""A person's turns in one channel, and which of them a later turn builds on.

Pure. It must never put words into the context of a turn that were not allowed in its request.
"""

import bisect
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

from dataflow.audience import may_recall, same_channel
from dataflow.model.answer_notes import without_note
from shared.messages import Place

CONTEXT_CHARS: Final = 6000
"""Earlier turns are added while all of them fit into this: about 1,500 tokens."""

REMEMBERED: Final = frozenset({"answered", "stopped"})
"""Outcomes of answers that a conversation remembers."""


@dataclass(frozen=True, slots=True)
class Rating:
    """What the person who asked thinks of the answer, and what it should have been."""

    thumb: Literal["up", "down"]
    reason: str | None = None
    correction: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A question with its answer and rating.

    `place` is None if the question was asked before anything was recorded. `question` and `answer`
    are None after a deletion. `files` and `quotes` say how many came with the question; they are
    not exported.
    """

    prompt_id: str
    user: str
    place: Place | None
    kind: str
    replaces: str | None
    said_at: datetime
    answered_at: datetime
    question: str | None
    answer: str | None
    outcome: str
    model: str
    persona: str | None = None
    files: int = 0
    quotes: int = 0
    rating: Rating | None = None
    training_allowed: bool | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_microdollars: int | None = None

    @property
    def platform(self) -> str:
        """From the user's id: NATS guarantees it, whatever place an adapter reports."""
        return self.user.partition(":")[0]

    @property
    def correction(self) -> str | None:
        """What the answer should have been, if the person said so."""
        text = self.rating.correction if self.rating else None
        return text if text and text.strip() else None

    @property
    def plain_answer(self) -> str:
        """The answer without our own notes at its end."""
        return without_note(self.answer or "")

    @property
    def wordless(self) -> bool:
        """Whether its words were wiped, or there never were any."""
        return not ((self.question or "").strip() and self.plain_answer.strip())


@dataclass(frozen=True, slots=True)
class Reset:
    """Somebody began a new conversation."""

    place: Place
    said_at: datetime


class History:
    """One person's turns in one channel, in the order in which they were said."""

    def __init__(self, turns: Sequence[Turn], resets: Sequence[Reset] = ()) -> None:
        """`resets` are those of this person, anywhere."""
        self._resets = sorted(resets, key=lambda reset: reset.said_at)
        self._replaces = {turn.prompt_id: turn.replaces for turn in turns if turn.replaces}
        self._versions: defaultdict[str, list[Turn]] = defaultdict(list)
        self._threads: defaultdict[str, list[str]] = defaultdict(list)
        self._index: dict[str, int] = {}
        self.turns: list[Turn] = []
        for turn in sorted(turns, key=lambda turn: (turn.said_at, turn.prompt_id)):
            first = self._first(turn.prompt_id)
            versions = self._versions[first]
            if not versions:
                # The list of a thread is in the order of what was asked first.
                thread = self._threads[_thread_of(turn)]
                self._index[first] = len(thread)
                thread.append(first)
            versions.append(_like(versions[0], turn) if versions else turn)
            self.turns.append(versions[-1])

    def versions(self, turn: Turn) -> tuple[Turn, ...]:
        """The turns that ask the same as this one: itself, Again, and edits; oldest first."""
        return tuple(self._versions[self._first(turn.prompt_id)])

    def context(self, turn: Turn, limit: int, limit_chars: int = CONTEXT_CHARS) -> tuple[Turn, ...]:
        """The turns of the same thread that came before a turn, oldest first.

        At most `limit` turns of `limit_chars` characters: those just before it, without a gap.
        """
        found: list[Turn] = []
        chars = 0
        for earlier in self._before(turn):
            chars += len(earlier.question or "") + len(earlier.plain_answer)
            if len(found) == limit or chars > limit_chars:
                break
            found.append(earlier)
        return tuple(reversed(found))

    def _before(self, turn: Turn) -> Iterator[Turn]:
        """The turns that a turn can build on, newest first."""
        if turn.place is None:
            return
        first = self._first(turn.prompt_id)
        asked = self._versions[first][0]
        thread = self._threads[_thread_of(asked)]
        for index in range(self._index[first] - 1, -1, -1):
            known = [each for each in self._versions[thread[index]] if each.said_at < turn.said_at]
            usable = [each for each in known if each.outcome in REMEMBERED and not each.wordless]
            if not usable:
                continue
            latest = usable[-1]
            if latest.place is None or not may_recall(latest.place, turn.place):
                continue
            if self._reset_between(latest, asked.said_at):
                return
            yield latest

    def _reset_between(self, earlier: Turn, until: datetime) -> bool:
        assert earlier.place is not None  # noqa: S101
        begin = bisect.bisect_left(self._resets, earlier.said_at, key=lambda reset: reset.said_at)
        for reset in self._resets[begin:]:
            if reset.said_at > until:
                return False
            if may_recall(earlier.place, reset.place) or same_channel(earlier.place, reset.place):
                return True
        return False

    def _first(self, prompt_id: str) -> str:
        seen = {prompt_id}
        while (replaced := self._replaces.get(prompt_id)) and replaced not in seen:
            prompt_id = replaced
            seen.add(prompt_id)
        return prompt_id


def _thread_of(turn: Turn) -> str:
    return turn.place.thread if turn.place else ""


def _like(asked: Turn, again: Turn) -> Turn:
    """The same question asked again: what came with it is recorded with the first one only."""
    return replace(again, persona=asked.persona, files=asked.files, quotes=asked.quotes)
