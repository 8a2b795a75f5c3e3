"""What the request for a question can hold of the past: its thread, and what was said elsewhere.

Pure. Words from another place come in only where `audience.may_recall` allows it, which is asked
again for every request.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from dataflow.audience import may_recall, same_thread
from dataflow.data_tags import background
from dataflow.tokens import message_tokens, newest_in_steps, newest_that_fit
from dataflow.turns import Turn
from shared.messages import Place

BACKGROUND_STEP: Final = 0.4
"""By this part of its room the beginning of a full background moves at once."""

BACKGROUND_TOKENS: Final = message_tokens(background([("", "")]))
"""The tags and the sentence around a background."""


class Past:
    """The turns of a thread that are sent, and those of other threads that it is or was told."""

    def __init__(self, turns: Iterable[Turn], here: Place, cut: int) -> None:
        self.kept: list[Turn] = []
        """The turns of this thread from the order `cut` on."""
        self._elsewhere: dict[int, Turn] = {}
        self._sent: set[int] = set()
        place: Place | None = None
        allowed = is_here = False
        for turn in turns:
            if not turn.answer:
                continue  # it failed: nobody heard anything
            if turn.place is not place:  # turns in a row mostly share it
                place = turn.place
                allowed = may_recall(place, here)
                is_here = allowed and same_thread(place, here)
            if not is_here:
                if allowed:
                    self._elsewhere[turn.order] = turn
            elif turn.order >= cut:
                self.kept.append(turn)
        self._untold = self._not_told_by_kept()

    @property
    def tokens(self) -> int:
        """The estimate for the turns that are kept, each with the background that it came with."""
        return sum(self._costs())

    @property
    def tokens_told(self) -> int:
        """The part of it that is background."""
        return sum(self.background_tokens(turn.context.told) for turn in self.kept)

    def keep_newest(self, room: int, *, last: int) -> None:
        """Keeps the newest turns that fit into `room`, and the last one if it fits into `last`."""
        costs = self._costs()
        fitting = newest_that_fit(costs, room) or newest_that_fit(costs[-1:], last)
        del self.kept[: len(costs) - fitting]
        self._untold = self._not_told_by_kept()

    def not_told(self, room: int, *, again: bool = False) -> tuple[int, ...]:
        """The orders of the newest turns from elsewhere that no kept turn tells.

        `again`: also of those that had no room before.
        """
        new = self._untold
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
        """The newest order that neither a kept turn nor this background tells; 0 if there is none.

        Whatever is older stays untold, or each question would tell some more of it.
        """
        if not self._untold:
            return 0
        return max((turn.order for turn in self._untold if turn.order not in told), default=0)

    def background_tokens(self, told: Sequence[int]) -> int:
        """The estimate for a background. What is no longer stored or allowed takes nothing."""
        tokens = sum(turn.tokens_elsewhere for turn in self._turns_of(told)) if told else 0
        return tokens and tokens + BACKGROUND_TOKENS

    def background(self, told: Sequence[int]) -> str:
        """The text of a background, made from what is stored and allowed now.

        Call it for the messages in their order: each turn is told once in a request.
        """
        sent = self._sent
        new = [turn for turn in self._turns_of(told) if turn.order not in sent]
        sent.update(told)
        return background([(turn.asked_elsewhere, turn.answer) for turn in new]) if new else ""

    def _not_told_by_kept(self) -> list[Turn]:
        """The turns from elsewhere that no kept turn tells."""
        if not self._elsewhere:
            return []
        told = {order for turn in self.kept for order in turn.context.told}
        return [turn for order, turn in self._elsewhere.items() if order not in told]

    def _costs(self) -> list[int]:
        """The estimate for each turn that is kept."""
        return [
            turn.tokens + self.background_tokens(told)
            if (told := turn.context.told)
            else turn.tokens
            for turn in self.kept
        ]

    def _turns_of(self, told: Sequence[int]) -> list[Turn]:
        found = self._elsewhere
        return [found[order] for order in told if order in found]
