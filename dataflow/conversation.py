"""One user's conversation: what is asked next, in which order, and what is remembered.

Pure: no clock, no network, no Bytewax. Events and journaled replies go in, effects come out. A
question is over only when the journal has returned its reply: `Journaled` is the one way to say so.

Order: in a thread one question at a time is asked or settled, and the next one only after the reply
before it is in the journal. So each reply can name its predecessor, predecessors are always older
in the journal, and no crash or replay can make two replies wait for each other.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

from dataflow.audience import may_recall, same_channel, same_thread
from dataflow.effects import CallModel, Cancel, Effect, Settle
from dataflow.known import Known, ask_anew, known_pending, known_turn
from dataflow.request import TooLong, Window, request_of
from dataflow.saved import SAVED, Latest, Pending, Saved
from dataflow.turns import Turn, Turns, turn_of
from dataflow.window import FIRST_RATIO, corrected_ratio
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

IN_FLIGHT_LIMIT: Final = 3
"""Questions of one user that are asked at once, in different threads."""

WAITING_LIMIT: Final = 100
"""Unanswered questions of one user; more are refused, so that state stays bounded."""

SETTLED_LIMIT: Final = 256
"""Ids of a user's last settled questions, against a second delivery."""

UNANSWERED_LIMIT: Final = 16
"""Ids of a user's last refused or failed questions: an edit of one of these is a new attempt."""

THREADS_LIMIT: Final = 64
"""Threads of a user in which the next reply names the one before it. In one that is older than
these, a reply would have to be unshown while the user asked in 64 others."""

NAMED_FOR: Final = timedelta(hours=25)
"""A relay gives a reply up after a day: an older one is shown by now, or is a dead letter."""

TOO_MANY: Final = "You have too many unanswered questions. Please wait until some are answered."
TOO_LONG: Final = (
    "Your message is longer than this model can read. Please shorten it or send it in pieces."
)
NOT_REMEMBERED: Final = (
    "I no longer remember that question, so I cannot answer it again. Please ask it anew."
)


class Conversation:
    """The rules for one user. Not thread-safe; one owner at a time."""

    def __init__(self, window: Window, user: str = "") -> None:
        self.user = user
        """Whose it is; empty if a snapshot of an older version does not tell."""
        self._window = window
        self._turns = Turns()
        self._pending: list[Pending] = []
        # A dict keeps the order in which they came, and finds one at once.
        self._settled: dict[str, None] = {}
        self._unanswered: dict[str, None] = {}
        # By thread, the last question whose reply is in the journal; the newest thread is last.
        self._latest: dict[str, Latest] = {}
        self._next_order = 1
        self._ratio = FIRST_RATIO
        self._estimates: dict[str, int] = {}

    # --- at rest ----------------------------------------------------------------------------

    def dump(self) -> bytes:
        """The conversation as JSON, for a snapshot."""
        return SAVED.dump_json(
            Saved(
                user=self.user,
                pending=tuple(self._pending),
                turns=tuple(self._turns),
                settled=tuple(self._settled),
                next_order=self._next_order,
                ratio=self._ratio,
                latest=self._latest,
                unanswered=tuple(self._unanswered),
            )
        )

    @classmethod
    def load(cls, data: bytes, window: Window) -> "Conversation":
        """The conversation of a snapshot. What was asked then counts as waiting again."""
        saved = SAVED.validate_json(data)
        conversation = cls(window, saved.user)
        conversation._turns = Turns(saved.turns)
        conversation._pending = list(saved.pending)
        for pending in conversation._pending:
            pending.asked, pending.replayed = False, True
        conversation._settled = dict.fromkeys(saved.settled)
        conversation._next_order = saved.next_order
        conversation._ratio = saved.ratio
        conversation._latest = dict(saved.latest)
        conversation._unanswered = dict.fromkeys(saved.unanswered)
        return conversation

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The answered questions that are remembered, in order."""
        return tuple(turn for turn in self._turns if turn.answer)

    @property
    def pending(self) -> tuple[Pending, ...]:
        """What has no reply yet."""
        return tuple(self._pending)

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
                self._turns.drop(lambda turn: turn.is_about(event.prompt_id))
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
        pending = self._find(reply.prompt_id)
        estimated = self._estimates.pop(reply.prompt_id, 0)
        if pending is None:
            return []
        self._pending.remove(pending)
        self._note_settled(pending, reply)
        if reply.outcome != "withdrawn" and not pending.forgotten:
            self._remember(pending, reply)
        # A look-up finds the usage of an older request, which says nothing about today's estimate.
        if reply.outcome == "answered" and reply.usage is not None and not pending.at_once:
            self._ratio = corrected_ratio(
                self._ratio, estimated=estimated, counted=reply.usage.prompt_tokens
            )
        return [*self._edited_since(pending, reply), *self._start()]

    def _note_settled(self, pending: Pending, reply: Reply) -> None:
        self._settled[pending.ask.id] = None
        if reply.outcome in {"refused", "failed"} and not pending.forgotten:
            self._unanswered[pending.ask.id] = None
        if not pending.at_once:
            thread = _thread_key(pending.ask.place)
            self._latest.pop(thread, None)
            self._latest[thread] = Latest(reply.prompt_id, reply.answered_at)
        while len(self._settled) > SETTLED_LIMIT:
            del self._settled[next(iter(self._settled))]
        while len(self._unanswered) > UNANSWERED_LIMIT:
            del self._unanswered[next(iter(self._unanswered))]
        while len(self._latest) > THREADS_LIMIT:
            del self._latest[next(iter(self._latest))]

    def resume(self) -> list[Effect]:
        """After a restart: asks again what was pending."""
        return list(self._start())

    # --- the rules --------------------------------------------------------------------------

    def _on_ask(self, new: Pending) -> list[Effect]:
        if self._find(new.ask.id) is not None:
            return []
        if new.ask.id in self._settled:
            return self._look_up(new)
        if len(self._pending) >= WAITING_LIMIT:
            return self._refuse_at_once(new)
        # Platforms deliver out of order; waiting questions are sorted by when they were said.
        later = (n for n, p in enumerate(self._pending) if self._is_later(p, new))
        self._pending.insert(next(later, len(self._pending)), new)
        return []

    def _look_up(self, new: Pending) -> list[Effect]:
        """A settled question that comes again: only the journal knows whether its reply is there.

        It almost always is, and nothing follows. If the journal was lost, the question is answered
        out of turn. It is not remembered again: it may have been deleted since.
        """
        new.replayed = new.forgotten = new.at_once = True
        self._pending.append(new)
        return [self._call(new)]

    def _refuse_at_once(self, new: Pending) -> list[Effect]:
        """Refuses one question too many. In its turn the refusal would come when it is not true."""
        new.ends, new.words, new.at_once = "refused", TOO_MANY, True
        self._pending.append(new)
        return [self._settle(new)]

    @staticmethod
    def _is_later(waiting: Pending, new: Pending) -> bool:
        return not waiting.asked and waiting.ask.said_at > new.ask.said_at

    def _on_edited(self, event: Edited, *, replayed: bool) -> list[Effect]:
        if not event.text.strip():
            return []
        pending = self._find(event.prompt_id)
        if pending is None:
            return self._on_late_edit(event, replayed=replayed)
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
        if known is not None:
            return self._ask_anew(event, known, known.text, replayed=replayed)
        refused = Pending(
            ask_anew(event, "(again)"), replayed, ends="refused", words=NOT_REMEMBERED
        )
        return self._on_ask(refused)

    def _on_late_edit(self, event: Edited, *, replayed: bool) -> list[Effect]:
        """An edit of a question that is not pending: the edit has the words, whoever forgot."""
        if not event.ask_again and event.prompt_id not in self._unanswered:
            return []  # people correct a typo, and have their answer
        self._unanswered.pop(event.prompt_id, None)
        known = self._known(event.prompt_id, event.place)
        if known is None:
            return self._on_ask(Pending(ask_anew(event, event.text), replayed))
        if known.text == event.text:
            return []  # answered so before this edit was read, or read again
        return self._ask_anew(event, known, event.text, replayed=replayed)

    def _ask_anew(
        self, event: Again | Edited, known: Known, text: str, *, replayed: bool
    ) -> list[Effect]:
        """Asks in the place of a known question; the new answer replaces the old one."""
        ask = ask_anew(event, text, known)
        return self._on_ask(Pending(ask, replayed, order=known.order, replaces=known.first))

    def _known(self, target: str, place: Place) -> Known | None:
        """A question by any of its ids: to ask it again in its thread is to say it there again."""
        for turn in self._turns:
            is_here = same_thread(turn.place, place) or may_recall(turn.place, place)
            if turn.is_about(target) and is_here:
                return known_turn(turn)
        # People see an answer, and may want another, before the flow has heard of it.
        for pending in self._pending:
            is_meant = target in {pending.ask.id, pending.replaces} and not pending.forgotten
            if is_meant and same_thread(pending.ask.place, place):
                self._put_in_order(pending)
                return known_pending(pending)
        return None

    @staticmethod
    def _is_stopped(pending: Pending, stop: Stop) -> bool:
        if stop.prompt_id is not None:
            return pending.ask.id == stop.prompt_id
        return same_thread(pending.ask.place, stop.place)

    def _end(self, outcome: Outcome, chosen: Callable[[Pending], bool]) -> list[Effect]:
        """Ends questions: what is being asked is cancelled, what waits is settled in its turn."""
        effects: list[Effect] = []
        for pending in [p for p in self._pending if chosen(p)]:
            if pending.asked:
                effects.append(Cancel(pending.ask.id, outcome))
            pending.forgotten = pending.forgotten or outcome == "withdrawn"
            pending.ends, pending.edit = outcome, None  # an edit before this is ended, too
        return effects

    def _settle(self, pending: Pending) -> Effect:
        """Settles a question without the model.

        It counts as asked until the journal has it: after a crash its reply may be an answer.
        """
        assert pending.ends is not None  # noqa: S101  (nothing else is settled)
        after = self._before(pending)
        self._begin(pending)
        return Settle(pending.ask, pending.ends, pending.words, after)

    def _before(self, pending: Pending) -> str | None:
        """The question whose reply comes before this one in the thread."""
        if pending.at_once:
            return None
        latest = self._latest.get(_thread_key(pending.ask.place))
        if latest is None or pending.ask.said_at - latest.answered_at > NAMED_FOR:
            return None
        return latest.prompt_id

    def _forget(self, chosen: Callable[[Place], bool]) -> None:
        self._turns.drop(lambda turn: chosen(turn.place))
        for pending in self._pending:
            pending.forgotten = pending.forgotten or chosen(pending.ask.place)

    def _start(self) -> Iterator[Effect]:
        """Takes what may be taken now: one question a thread, in order; few model calls a user."""
        threads = [p.ask.place for p in self._pending if p.asked and not p.at_once]
        calling = len(threads)
        for pending in [p for p in self._pending if not p.asked]:
            place = pending.ask.place
            if any(same_thread(other, place) for other in threads):
                continue
            threads.append(place)  # also if it has to wait: nothing in its thread may pass it
            if pending.ends is not None:
                yield self._settle(pending)
            elif calling < IN_FLIGHT_LIMIT:
                calling += 1
                yield self._call(pending)

    def _begin(self, pending: Pending) -> None:
        """From now on it counts as asked."""
        pending.asked = True
        self._put_in_order(pending)

    def _put_in_order(self, pending: Pending) -> None:
        """Gives it its place among the turns."""
        pending.order = pending.order or self._next_order
        self._next_order = max(self._next_order, pending.order + 1)

    def _call(self, pending: Pending) -> Effect:
        after = self._before(pending)
        self._begin(pending)
        turns = self._turns.before(pending.order)
        try:
            request = request_of(pending.ask, turns, self._window, self._ratio)
        except TooLong:
            return Settle(pending.ask, "refused", TOO_LONG, after)
        self._estimates[pending.ask.id] = request.estimated_tokens
        return CallModel(pending.ask, request, pending.replayed, after)

    def _remember(self, pending: Pending, reply: Reply) -> None:
        """Keeps the turn. Of a failure only the question is kept, so that it can be asked again."""
        heard = reply.outcome in {"answered", "stopped"}
        if not heard and reply.outcome != "failed":
            return
        answer = reply.text if heard and reply.text.strip() else ""
        place = self._turns.shared(pending.ask.place)
        question = reply.prompt_text or pending.ask.text
        self._turns.add(
            turn_of(pending.ask, place, question, answer, pending.order, first=pending.replaces)
        )

    def _find(self, prompt_id: str) -> Pending | None:
        return next((p for p in self._pending if p.ask.id == prompt_id), None)


def _thread_key(place: Place) -> str:
    """The same for places that are the `same_thread`; a user has one platform."""
    return f"{place.channel}/{place.thread}"
