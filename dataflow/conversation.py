"""One user's conversation: what is asked next, and what is remembered.

Pure: no clock, no network, no Bytewax. Events and journaled replies go in, effects come out. A
question is over only when the journal has returned its reply: `Journaled` is the one way to say so.
The order of questions and replies is kept by `unanswered.py`, what a request holds by `request.py`.
"""

from collections.abc import Callable, Iterator
from typing import Final

from dataflow.asked_again import Known, ask_anew, known_pending, known_turn
from dataflow.audience import may_recall, same_channel, same_thread
from dataflow.effects import CallModel, Cancel, Effect, Settle, Wait
from dataflow.model.answer_notes import without_note
from dataflow.question_queue import Unanswered
from dataflow.request import Request, TooLong, Window, request_of
from dataflow.snapshot import SAVED, Pending, Saved
from dataflow.thread_starts import Cuts
from dataflow.tokens import FIRST_RATIO, corrected_ratio
from dataflow.turns import Context, Turn, Turns, turn_of
from shared.messages import (
    Again,
    AnyEvent,
    Ask,
    Deleted,
    Edited,
    Forget,
    Journaled,
    Outcome,
    Place,
    Reply,
    Reset,
    Stop,
)

TOO_MANY: Final = "You have too many unanswered questions. Please wait until some are answered."
TOO_LONG: Final = (
    "Your message is longer than this model can read. Please shorten it or send it in pieces."
)
NOT_REMEMBERED: Final = (
    "I no longer remember that question, so I cannot answer it again. Please ask it anew."
)

NOT_ASKED: Final = Request((), 0)


class Conversation:
    """The rules for one user. Not thread-safe; one owner at a time."""

    def __init__(self, window: Window, user: str = "") -> None:
        self.user = user
        """Whose it is; empty if a snapshot of an older version does not tell."""
        self._window = window
        self._turns = Turns()
        self._unanswered = Unanswered()
        self._cuts = Cuts()
        self._ratio = FIRST_RATIO
        # By question, the request under way.
        self._requests: dict[str, Request] = {}

    # --- at rest ----------------------------------------------------------------------------

    def dump(self) -> bytes:
        """The conversation as JSON, for a snapshot."""
        return Saved(
            user=self.user,
            pending=self.pending,
            turns=tuple(self._turns),
            settled=tuple(self._unanswered.settled),
            next_order=self._unanswered.next_order,
            ratio=self._ratio,
            latest=self._unanswered.latest,
            unanswered=tuple(self._unanswered.without_answer),
            cuts=self._cuts.saved,
        ).dump()

    @classmethod
    def load(cls, data: bytes, window: Window) -> "Conversation":
        """The conversation of a snapshot. What was asked then counts as waiting again."""
        saved = SAVED.validate_json(data)
        conversation = cls(window, saved.user)
        conversation._turns = Turns(saved.turns)
        for pending in saved.pending:
            pending.asked, pending.replayed = False, True
        conversation._unanswered = Unanswered(
            saved.pending,
            settled=saved.settled,
            latest=saved.latest,
            without_answer=saved.unanswered,
            next_order=saved.next_order,
        )
        conversation._cuts = Cuts(saved.cuts)
        conversation._ratio = saved.ratio
        return conversation

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The answered questions that are remembered, in order."""
        return tuple(turn for turn in self._turns if turn.answer)

    @property
    def pending(self) -> tuple[Pending, ...]:
        """What has no reply yet."""
        return tuple(self._unanswered)

    # --- events -----------------------------------------------------------------------------

    def on_event(self, event: AnyEvent, *, replayed: bool) -> list[Effect]:
        """What follows from an event of this user; `replayed`: it was stored before this run."""
        effects: list[Effect] = []
        match event:
            case Ask():
                effects = self._on_ask(Pending(event, replayed))
            case Stop():
                effects = self._end("stopped", lambda p: self._is_stopped(p, event))
            case Deleted():
                self._forget_turns(lambda turn: turn.is_about(event.prompt_id))
                # With it goes a newer answer to it that is on its way.
                effects = self._end(
                    "withdrawn", lambda p: event.prompt_id in {p.ask.id, p.replaces}
                )
            case Edited():
                effects = self._on_edited(event, replayed=replayed)
            case Again():
                effects = self._again(event, replayed=replayed)
            case Reset():
                self._forget(lambda p: may_recall(p, event.place) or same_channel(p, event.place))
            case Forget():
                self._forget(lambda _: True)
            # Rate and Configure are for others who read the same stream.
        return [*effects, *self._start()]

    def on_reply(self, journaled: Journaled) -> list[Effect]:
        """What follows from the journal's reply to a pending question."""
        reply = journaled.reply
        pending = self._unanswered.find(reply.prompt_id)
        request = self._requests.pop(reply.prompt_id, NOT_ASKED)
        if pending is None:
            return []
        self._unanswered.settle(pending, reply)
        if not pending.forgotten:
            self._remember(pending, reply, request)
        # A look-up finds the usage of an older request, which says nothing about today's estimate.
        if reply.outcome == "answered" and reply.usage is not None and not pending.at_once:
            estimated, counted = request.estimated_tokens, reply.usage.prompt_tokens
            self._ratio = corrected_ratio(self._ratio, estimated=estimated, counted=counted)
        return [*self._edited_since(pending, reply), *self._start()]

    def resume(self) -> list[Effect]:
        """After a restart: asks again what was pending."""
        return list(self._start())

    @property
    def may_wait(self) -> bool:
        """Whether `waits` is to be asked."""
        return self._unanswered.may_wait

    def waits(self) -> Iterator[Wait]:
        """What has begun to wait since the last call, or waits for another reason now."""
        return self._unanswered.waits()

    # --- the rules --------------------------------------------------------------------------

    def _on_ask(self, new: Pending) -> list[Effect]:
        if self._unanswered.find(new.ask.id) is not None:
            return []
        if new.ask.id in self._unanswered.settled:
            return self._look_up(new)
        if self._unanswered.is_full:
            return self._refuse_at_once(new)
        self._unanswered.add(new)
        return []

    def _look_up(self, new: Pending) -> list[Effect]:
        """A settled question that comes again: only the journal knows whether its reply is there.

        It almost always is, and nothing follows. If the journal was lost, the question is answered
        out of turn. It is not remembered again: it may have been deleted since.
        """
        new.replayed = new.forgotten = new.at_once = True
        self._unanswered.add(new)
        return [self._call(new)]

    def _refuse_at_once(self, new: Pending) -> list[Effect]:
        """Refuses one question too many. In its turn the refusal would come when it is not true."""
        new.ends, new.words, new.at_once = "refused", TOO_MANY, True
        self._unanswered.add(new)
        return [self._settle(new)]

    def _on_edited(self, event: Edited, *, replayed: bool) -> list[Effect]:
        pending = self._unanswered.find(event.prompt_id)
        if pending is None:
            return self._on_late_edit(event, replayed=replayed)
        if not known_pending(pending).says_something(event.text):
            return []
        pending.edit = None if pending.ends == "withdrawn" else event
        if pending.ends is None:
            pending.ask = pending.ask.model_copy(update={"text": event.text})
            # Asked already: asked anew, and the model sink ends the older call.
            pending.asked, pending.replayed = False, True
        return []

    def _edited_since(self, pending: Pending, reply: Reply) -> list[Effect]:
        """People see an answer, and may edit the question, before the flow has heard of it."""
        edit = pending.edit
        if edit is None or not edit.ask_again or reply.prompt_text in {"", edit.text}:
            return []
        return self._ask_anew(edit, known_pending(pending), edit.text, replayed=True)

    def _again(self, event: Again, *, replayed: bool) -> list[Effect]:
        known = self._known(event.prompt_id, event.place)
        if known is not None and known.says_something(known.text):
            return self._ask_anew(event, known, known.text, replayed=replayed)
        refused = Pending(
            ask_anew(event, "(again)"), replayed, ends="refused", words=NOT_REMEMBERED
        )
        return self._on_ask(refused)

    def _on_late_edit(self, event: Edited, *, replayed: bool) -> list[Effect]:
        """An edit of a question that is not pending: the edit has the words, whoever forgot."""
        if not event.ask_again and event.prompt_id not in self._unanswered.without_answer:
            return []  # people correct a typo, and have their answer
        self._unanswered.without_answer.pop(event.prompt_id, None)
        known = self._known(event.prompt_id, event.place)
        if known is None:
            if not event.text.strip():
                return []
            return self._on_ask(Pending(ask_anew(event, event.text), replayed))
        if known.text == event.text or not known.says_something(event.text):
            return []  # answered so before this edit was read, or read again; or nothing is left
        return self._ask_anew(event, known, event.text, replayed=replayed)

    def _ask_anew(
        self, event: Again | Edited, known: Known, text: str, *, replayed: bool
    ) -> list[Effect]:
        """Asks in the place of a known question; the new answer replaces the old one."""
        ask = ask_anew(event, text, known)
        return self._on_ask(Pending(ask, replayed, order=known.order, replaces=known.first))

    def _known(self, target: str, place: Place) -> Known | None:
        """A question by any of its ids: to ask it again in its thread is to say it there again."""
        # Pending ones first: an edit may be on its way, and people see an answer, and may want
        # another, before the flow has heard of it.
        pending = self._unanswered.newest_about(target, place)
        if pending is not None:
            return known_pending(pending)
        turn = self._turns.about(target, place)
        return None if turn is None else known_turn(turn)

    @staticmethod
    def _is_stopped(pending: Pending, stop: Stop) -> bool:
        if stop.prompt_id is not None:
            return pending.ask.id == stop.prompt_id
        return same_thread(pending.ask.place, stop.place)

    def _end(self, outcome: Outcome, chosen: Callable[[Pending], bool]) -> list[Effect]:
        """Ends questions: what is being asked is cancelled, what waits is settled in its turn."""
        effects: list[Effect] = []
        for pending in [p for p in self._unanswered if chosen(p)]:
            if pending.asked or self._unanswered.was_queued(pending):
                effects.append(Cancel(pending.ask.id, outcome))
            pending.forgotten = pending.forgotten or outcome == "withdrawn"
            pending.ends, pending.edit = outcome, None  # an edit before this is ended, too
        return effects

    def _forget(self, chosen: Callable[[Place], bool]) -> None:
        self._forget_turns(lambda turn: chosen(turn.place))
        for pending in self._unanswered:
            pending.forgotten = pending.forgotten or chosen(pending.ask.place)

    def _forget_turns(self, chosen: Callable[[Turn], bool]) -> None:
        self._turns.drop(chosen)
        self._cuts.keep(turn.place for turn in self._turns)

    def _start(self) -> Iterator[Effect]:
        for pending in self._unanswered.ready():
            yield self._call(pending) if pending.ends is None else self._settle(pending)

    def _settle(self, pending: Pending) -> Effect:
        """Settles a question without the model.

        It counts as asked until the journal has it: after a crash its reply may be an answer.
        """
        assert pending.ends is not None  # noqa: S101  (nothing else is settled)
        after = self._unanswered.begin(pending)
        return Settle(pending.ask, pending.ends, pending.words, after)

    def _call(self, pending: Pending) -> Effect:
        after = self._unanswered.begin(pending)
        ask, turns = pending.ask, self._turns.before(pending.order)
        cut = self._cuts.first_in(ask.place)
        if is_older := pending.order <= cut:
            cut = 0  # asked again, from what came before it
        try:
            request = request_of(ask, turns, self._window, self._ratio, cut=cut)
        except TooLong:
            return Settle(ask, "refused", TOO_LONG, after)
        if request.cut > cut and not is_older:
            self._turns.cut(ask.place, request.cut)
            self._cuts.move(ask.place, request.cut)
        self._requests[ask.id] = request
        return CallModel(ask, request, pending.replayed, after)

    def _remember(self, pending: Pending, reply: Reply, request: Request) -> None:
        """Keeps the turn. Without an answer only the question is kept, to be asked again."""
        if reply.outcome == "withdrawn" or pending.words == NOT_REMEMBERED:
            return
        is_heard = reply.outcome in {"answered", "stopped"} and reply.text.strip()
        answer = without_note(reply.text) if is_heard else ""
        place = self._turns.shared(pending.ask.place)
        question = reply.prompt_text or pending.ask.text
        context = request.context
        if request is NOT_ASKED and pending.ask.quotes:
            context = Context(quotes=pending.ask.quotes)  # not sent, so that none was left out
        self._turns.add(
            turn_of(
                pending.ask, place, question, answer, pending.order,
                first=pending.replaces, context=context,
            )
        )  # fmt: skip
