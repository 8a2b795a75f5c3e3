"""What an edit or a request for another answer asks.

Pure. The new question takes the place of the earlier one among the turns, and its answer replaces
the old one.
"""

from typing import Final

from dataflow.asked_again import EarlierQuestion, ask_of, from_pending, from_turn
from dataflow.memory import Memory
from dataflow.pending import Ending, Pending
from dataflow.question_queue import QuestionQueue
from shared.messages import Again, Edited, Place
from shared.replies import Reply

NOT_REMEMBERED: Final = (
    "I no longer remember that question, so I cannot answer it again. Please send it once more."
)


class AskingAgain:
    """Makes new questions out of earlier ones of the same user."""

    def __init__(self, queue: QuestionQueue, memory: Memory) -> None:
        self._queue = queue
        self._memory = memory

    def again(self, event: Again, *, replayed: bool) -> Pending:
        """The question that somebody wants another answer to; a refusal if it is unknown."""
        earlier = self._earlier_question(event.prompt_id, event.place)
        if earlier is not None and earlier.can_be_asked_with(earlier.text):
            return _in_place_of(earlier, event, earlier.text, replayed=replayed)
        refusal = Ending("refused", NOT_REMEMBERED)
        return Pending(ask_of(event, "(again)"), replayed, "ended", refusal)

    def late_edit(self, event: Edited, *, replayed: bool) -> Pending | None:
        """What an edit asks if its question is not pending; None: nothing."""
        if not event.ask_again and event.prompt_id not in self._queue.without_answer:
            return None  # somebody corrected a typo, and has the answer
        self._queue.without_answer.pop(event.prompt_id, None)
        earlier = self._earlier_question(event.prompt_id, event.place)
        if earlier is None:
            has_text = bool(event.text.strip())
            return Pending(ask_of(event, event.text), replayed) if has_text else None
        if earlier.text == event.text or not earlier.can_be_asked_with(event.text):
            return None  # this text has its answer already, or nothing is left to ask
        return _in_place_of(earlier, event, event.text, replayed=replayed)

    def after_reply(self, pending: Pending, reply: Reply) -> Pending | None:
        """The edited question, if the reply is to an older text; None otherwise.

        People see an answer, and may edit their question, before the dataflow has processed it.
        """
        edit = pending.edit
        if edit is None or not edit.ask_again or reply.prompt_text in {"", edit.text}:
            return None
        return _in_place_of(from_pending(pending), edit, edit.text, replayed=True)

    def _earlier_question(self, target: str, place: Place) -> EarlierQuestion | None:
        """A question by any of its ids, if it may be asked again in this place."""
        # Pending ones first: an edit may be in progress, and people may want another answer before
        # the dataflow has processed the first one.
        pending = self._queue.find_newest(target, place)
        if pending is not None:
            self._queue.put_in_order(pending)
            return from_pending(pending)
        turn = self._memory.turns.about(target, place)
        return None if turn is None else from_turn(turn)


def _in_place_of(
    earlier: EarlierQuestion, event: Again | Edited, text: str, *, replayed: bool
) -> Pending:
    ask = ask_of(event, text, earlier)
    return Pending(ask, replayed, order=earlier.order, replaces=earlier.first)
