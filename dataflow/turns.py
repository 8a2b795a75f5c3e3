"""A user's turns, in the order in which they were asked.

Pure. They must never grow without limit, and never be forgotten one at a time: each loss changes
the beginning of later requests, which then cannot come from the endpoint's cache.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final

from dataflow.audience import may_recall, same_thread
from dataflow.tokens import message_tokens
from dataflow.turn import Turn, by_name, without_spare
from shared.messages import Place

TURNS_LIMIT: Final = 200
TOKENS_LIMIT: Final = 50_000
"""About 200 kB per user. Older content is in summaries."""

NEARLY_FULL: Final = 0.9
"""If this part of either limit is used, summaries are made before old turns are forgotten."""

KEPT_SHARE: Final = 0.75
"""If a limit is exceeded, old turns are forgotten until this part of both limits is left."""

UNANSWERED_LIMIT: Final = 20
UNANSWERED_TOKENS_LIMIT: Final = 10_000
"""Limits for failed and refused questions, which are kept to be asked again. An outage of the model
must not fill the memory with them."""

SHARED_WITH_TURNS: Final = 3
"""A new turn shares its place with one of this many turns before it: people rarely use more threads
at the same time."""

SPARE_CHARS_LIMIT: Final = 40_000
"""Limit for everything of one user that is kept only for asking again."""


class Turns:
    """The turns that are remembered. Iterates over them in their order."""

    def __init__(self, turns: Iterable[Turn] = ()) -> None:
        self._turns: list[Turn] = []
        for turn in turns:
            self._turns.append(replace(turn, place=self.shared(turn.place)))
        self.nearly_full = False
        """Whether the memory was nearly full when the last turn was added."""

    def __iter__(self) -> Iterator[Turn]:
        return iter(self._turns)

    def add(self, turn: Turn) -> None:
        """Adds a turn, which replaces an older answer to the same question."""
        first = turn.first
        if first is not None:
            self.drop(lambda old: old.is_about(first))
        at = len(self._turns)
        while at and self._turns[at - 1].order > turn.order:
            at -= 1
        self._turns.insert(at, turn)
        if not turn.answer:
            self._limit_unanswered()
        if turn.spare_chars:
            self._limit_spare()
        tokens = sum(turn.tokens for turn in self._turns)
        self.nearly_full = (
            len(self._turns) > TURNS_LIMIT * NEARLY_FULL or tokens > TOKENS_LIMIT * NEARLY_FULL
        )
        if len(self._turns) > TURNS_LIMIT or tokens > TOKENS_LIMIT:
            self._forget_oldest(tokens)

    def shared(self, place: Place) -> Place:
        """The equal place of a recent turn if there is one, so that turns share one object.

        A place takes more memory than a short question with its answer.
        """
        for turn in reversed(self._turns[-SHARED_WITH_TURNS:]):
            if turn.place is place or turn.place == place:
                return turn.place
        return place

    def about(self, prompt_id: str, here: Place) -> Turn | None:
        """The turn of a question, by any of its ids, if it may be used here."""
        for turn in self._turns:
            if turn.is_about(prompt_id):
                is_here = same_thread(turn.place, here) or may_recall(turn.place, here)
                return turn if is_here else None
        return None

    def has(self, prompt_id: str, question: str | None = None) -> bool:
        """Whether there is a turn of this question; with this text, if one is given."""
        return any(
            turn.is_about(prompt_id) and question in {None, turn.question} for turn in self._turns
        )

    def newest_in(self, place: Place) -> Turn | None:
        """The newest answered turn of a thread."""
        for turn in reversed(self._turns):
            if turn.answer and same_thread(turn.place, place):
                return turn
        return None

    def edit(self, prompt_id: str, question: str) -> None:
        """Changes the text of a question."""
        for at, turn in enumerate(self._turns):
            if turn.is_about(prompt_id):
                turn = replace(turn, question=question)  # noqa: PLW2901  (the edited turn)
                tokens = message_tokens(turn.asked) + message_tokens(turn.answer)
                self._turns[at] = replace(turn, tokens=tokens)

    def before(self, order: int) -> list[Turn]:
        """The turns before this order."""
        at = len(self._turns)
        while at and self._turns[at - 1].order >= order:
            at -= 1
        return self._turns[:at]

    def keep(self, turns: Iterable[Turn]) -> None:
        """Replaces all turns by these, which are in the same order."""
        self._turns = list(turns)

    def drop(self, chosen: Callable[[Turn], bool]) -> None:
        """Drops turns."""
        self._turns = [turn for turn in self._turns if not chosen(turn)]

    def forget_data_before(self, order: int, place: Place) -> None:
        """Drops quotes and long files of this thread before an order: no request needs them."""
        for at, turn in enumerate(self._turns):
            if turn.order >= order:
                break
            has_data = turn.context.in_full or turn.context.quotes
            if has_data and same_thread(turn.place, place):
                self._turns[at] = by_name(turn)
        self._limit_spare()

    def _forget_oldest(self, tokens: int) -> None:
        at, last = 0, len(self._turns) - 1
        while at < last and (
            len(self._turns) - at > TURNS_LIMIT * KEPT_SHARE or tokens > TOKENS_LIMIT * KEPT_SHARE
        ):
            tokens -= self._turns[at].tokens
            at += 1
        del self._turns[:at]

    def _limit_unanswered(self) -> None:
        """Drops old questions without an answer. The newest stays, however long it is."""
        unanswered = [turn for turn in self._turns if not turn.answer]
        count, tokens = 0, 0
        for turn in reversed(unanswered):
            tokens += turn.tokens
            if count and (count == UNANSWERED_LIMIT or tokens > UNANSWERED_TOKENS_LIMIT):
                break
            count += 1
        gone = {turn.order for turn in unanswered[: len(unanswered) - count]}
        if gone:
            self.drop(lambda turn: turn.order in gone)

    def _limit_spare(self) -> None:
        left = SPARE_CHARS_LIMIT
        for at in range(len(self._turns) - 1, -1, -1):
            turn = self._turns[at]
            left -= (chars := turn.spare_chars)
            if chars and left < 0:
                self._turns[at] = without_spare(turn)
