"""The earlier messages that a request can hold: those of its thread, and some from elsewhere.

Pure. Messages from another place are used only if `audience.may_recall` allows it, which is asked
again for every request.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from dataflow.audience import may_recall, same_thread
from dataflow.data_tags import background
from dataflow.tokens import message_tokens, newest_in_steps, newest_that_fit
from dataflow.turn import Turn
from shared.messages import Place

BACKGROUND_STEP: Final = 0.4
"""The beginning of a full background moves by this part of its room at a time."""

BACKGROUND_TOKENS: Final = message_tokens(background([("", "")]))
"""The tags and the sentence around a background."""


class History:
    """The turns of a thread that are sent, and the turns from elsewhere in their backgrounds."""

    def __init__(self, turns: Iterable[Turn], here: Place, start: int) -> None:
        self.kept: list[Turn] = []
        """The turns of this thread from the order `start` on."""
        self._elsewhere: dict[int, Turn] = {}
        self._sent: set[int] = set()
        place: Place | None = None
        allowed = is_here = False
        for turn in turns:
            if not turn.answer:
                continue  # it failed: there was no answer
            if turn.place is not place:  # turns in a row mostly share it
                place = turn.place
                allowed = may_recall(place, here)
                is_here = allowed and same_thread(place, here)
            if not is_here:
                if allowed:
                    self._elsewhere[turn.order] = turn
            elif turn.order >= start:
                self.kept.append(turn)
        self._not_in_background = self._without_background()

    @property
    def tokens(self) -> int:
        """The estimate for the kept turns, each with its background."""
        return sum(self.costs())

    def costs(self) -> list[int]:
        """The estimate for each kept turn, with its background."""
        return [
            turn.tokens + self.background_tokens(told)
            if (told := turn.context.told)
            else turn.tokens
            for turn in self.kept
        ]

    @property
    def background_tokens_kept(self) -> int:
        """The part of this estimate that is background."""
        return sum(self.background_tokens(turn.context.told) for turn in self.kept)

    def keep_newest(self, room: int, *, last: int) -> None:
        """Keeps the newest turns that fit into `room`, or the last one if it fits into `last`."""
        costs = self.costs()
        fitting = newest_that_fit(costs, room) or newest_that_fit(costs[-1:], last)
        del self.kept[: len(costs) - fitting]
        self._not_in_background = self._without_background()

    def new_background(self, room: int, *, again: bool = False) -> tuple[int, ...]:
        """The orders of the newest turns from elsewhere that are in no kept turn's background.

        `again`: including those that were left out before for lack of room.
        """
        new = self._not_in_background
        if new and not again:
            after = max((turn.context.left_out for turn in self.kept), default=0)
            new = [turn for turn in new if turn.order > after]
        room -= BACKGROUND_TOKENS
        if not new or room <= 0:
            return ()
        costs = [turn.tokens_elsewhere for turn in new]
        fitting = newest_in_steps(costs, room, max(int(room * BACKGROUND_STEP), 1))
        return tuple(turn.order for turn in new[len(new) - fitting :])

    def left_out(self, told: Sequence[int]) -> int:
        """The newest order that is in neither a kept background nor this one; 0 if there is none.

        Older turns stay left out, or each question would add some more of them.
        """
        if not self._not_in_background:
            return 0
        return max(
            (turn.order for turn in self._not_in_background if turn.order not in told), default=0
        )

    def background_tokens(self, told: Sequence[int]) -> int:
        """The estimate for a background, without turns that are no longer stored or allowed."""
        tokens = sum(turn.tokens_elsewhere for turn in self._turns_of(told)) if told else 0
        return tokens and tokens + BACKGROUND_TOKENS

    def background(self, told: Sequence[int]) -> str:
        """The text of a background, made from the turns that are stored and allowed now.

        Call it for the messages in their order: a request contains each turn only once.
        """
        sent = self._sent
        new = [turn for turn in self._turns_of(told) if turn.order not in sent]
        sent.update(told)
        return background([(turn.question_elsewhere, turn.answer) for turn in new]) if new else ""

    def _without_background(self) -> list[Turn]:
        """The turns from elsewhere that are in no kept turn's background."""
        if not self._elsewhere:
            return []
        told = {order for turn in self.kept for order in turn.context.told}
        return [turn for order, turn in self._elsewhere.items() if order not in told]

    def _turns_of(self, told: Sequence[int]) -> list[Turn]:
        found = self._elsewhere
        return [found[order] for order in told if order in found]
