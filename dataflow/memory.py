"""The memory of one user: the turns, and the requests that are made from them.

Pure.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from dataflow.effects import Summarize
from dataflow.model.answer_notes import without_note
from dataflow.pending import Pending
from dataflow.request import Request, request_of
from dataflow.retention import Kept, kept_turns
from dataflow.summaries import Summaries
from dataflow.thread_starts import ThreadStart, ThreadStarts
from dataflow.tokens import FIRST_RATIO, Window, corrected_ratio
from dataflow.turn import Context, Turn, turn_of
from dataflow.turns import Turns
from shared.messages import Ask, Place
from shared.replies import BackgroundCall, Reply

NOT_ASKED: Final = Request((), 0)
"""The request of a question that this run did not ask the model."""

_NO_STARTS: Final[Mapping[str, ThreadStart]] = MappingProxyType({})


class Memory:
    """The turns, the start of each thread, and how many tokens the model counts for a text."""

    def __init__(
        self,
        window: Window,
        turns: Iterable[Turn] = (),
        starts: Mapping[str, ThreadStart] = _NO_STARTS,
        ratio: float = FIRST_RATIO,
        unreported: Iterable[BackgroundCall] = (),
    ) -> None:
        self._window = window
        self.turns = Turns(turns)
        self.starts = ThreadStarts(starts)
        self.summaries = Summaries(window, self.turns, self.starts, unreported)
        self.ratio = ratio

    def request_for(self, ask: Ask, order: int, linked: Sequence[Turn] = ()) -> Request:
        """The request for a question with its place among the turns.

        `linked` are turns under other accounts of this person.

        Raises:
            TooLong: the question alone does not fit into the window.
        """
        turns = self.turns.before(order)
        start = self.starts.first_in(ask.place)
        summary = self.summaries.usable_in(ask.place) if start else None
        if is_older := order <= start:
            start, summary = 0, None  # asked again, with the turns that came before it
        request = request_of(ask, turns, self._window, self.ratio, start=start, summary=summary,
                             linked=linked)  # fmt: skip
        if request.start > start and not is_older:
            self.turns.forget_data_before(request.start, ask.place)
            self.starts.move(ask.place, request.start)
        return request

    def remember(self, pending: Pending, reply: Reply, request: Request) -> Turn:
        """Keeps a turn. A question without an answer is kept so that it can be asked again."""
        is_heard = reply.outcome in {"answered", "stopped"} and reply.text.strip()
        answer = without_note(reply.text) if is_heard else ""
        ask = pending.ask
        place = self.turns.shared(ask.place)
        question = reply.prompt_text or ask.text
        context = request.context
        if request is NOT_ASKED and ask.quotes:
            context = Context(quotes=ask.quotes)  # no request has chosen among them
        turn = turn_of(
            ask, place, question, answer, pending.order, first=pending.replaces, context=context
        )
        if pending.replaces is not None:
            self.summaries.withdraw(pending.replaces, place, is_known=True)
        self.turns.add(turn)
        return turn

    def summarize(self, place: Place) -> list[Summarize]:
        """Begins a summary of this thread, if one is due."""
        summarize = self.summaries.begin(place, self.ratio)
        return [] if summarize is None else [summarize]

    def correct_ratio(self, request: Request, counted_tokens: int) -> None:
        """Corrects the estimate of later requests by the tokens that the model counted."""
        self.ratio = corrected_ratio(
            self.ratio, estimated=request.estimated_tokens, counted=counted_tokens
        )

    def delete(self, prompt_id: str, place: Place, *, is_pending: bool) -> bool:
        """Forgets a question; returns whether it was in a summary, which is to be made again."""
        is_known = is_pending or self.turns.has(prompt_id)
        withdrawn = self.summaries.withdraw(prompt_id, place, is_known=is_known)
        self._drop(lambda turn: turn.is_about(prompt_id))
        return withdrawn

    def edit(self, prompt_id: str, text: str, place: Place) -> bool:
        """Changes the text of a question if it is in a summary, which is to be made again.

        Other turns stay as they were answered. Returns whether there is such a summary.
        """
        if self.turns.has(prompt_id, text):
            return False  # platforms report an edit although the text is the same
        is_known = self.turns.has(prompt_id)
        if withdrawn := self.summaries.withdraw(prompt_id, place, is_known=is_known):
            self.turns.edit(prompt_id, text)
        return withdrawn

    def forget(self, chosen: Callable[[Place], bool]) -> None:
        """Forgets everything that was said in some places."""
        self.summaries.withdraw_places(chosen)
        self._drop(lambda turn: chosen(turn.place))

    def forget_older(self, kept: Kept) -> None:
        """Forgets turns of earlier days, and summaries of them."""
        self.summaries.forget_older(kept)
        self.turns.keep(kept_turns(self.turns, kept))
        self.starts.keep(turn.place for turn in self.turns)

    def _drop(self, chosen: Callable[[Turn], bool]) -> None:
        self.turns.drop(chosen)
        self.starts.keep(turn.place for turn in self.turns)
