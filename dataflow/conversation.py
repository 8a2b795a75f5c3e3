"""One user's conversation: what is asked next, in which order, and what is remembered.

Pure: no clock, no network, no Bytewax. Events and replies go in, effects come out; every question
gets exactly one effect that settles it, whatever is replayed after a crash.
"""

from collections.abc import Callable, Iterator
from typing import Final

from dataflow.effects import CallModel, Cancel, Effect, Settle
from dataflow.request import TooLong, Window, may_recall, request_of, same_thread
from dataflow.saved import SAVED, Pending, Saved
from dataflow.turns import Turn, Turns, turn_of
from dataflow.window import FIRST_RATIO, corrected_ratio
from shared.messages import (
    Again,
    AnyEvent,
    Ask,
    Deleted,
    Edited,
    Forget,
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
        return conversation

    @property
    def turns(self) -> tuple[Turn, ...]:
        """What is remembered, in order."""
        return tuple(self._turns)

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
                effects = self._anew(event, "", replayed=replayed)
            case Reset():
                self._forget(lambda place: may_recall(place, event.place))
            case Forget():
                self._forget(lambda _: True)
            # Rate and Configure are for others who read the same stream.
        return [*effects, *self._start()]

    def on_reply(self, reply: Reply) -> list[Effect]:
        """What follows from the journal's reply to a pending question."""
        pending = self._find(reply.prompt_id)
        estimated = self._estimates.pop(reply.prompt_id, 0)
        if pending is None:
            return []
        self._pending.remove(pending)
        self._settled[reply.prompt_id] = None
        while len(self._settled) > SETTLED_LIMIT:
            del self._settled[next(iter(self._settled))]
        said = reply.outcome in {"answered", "stopped"} and reply.text.strip()
        if said and not pending.forgotten:
            self._remember(pending, reply)
        if reply.outcome == "answered" and reply.usage is not None:
            self._ratio = corrected_ratio(
                self._ratio, estimated=estimated, counted=reply.usage.prompt_tokens
            )
        return [*self._edited_since(pending, reply), *self._start()]

    def resume(self) -> list[Effect]:
        """After a restart: asks again what was pending."""
        return list(self._start())

    # --- the rules --------------------------------------------------------------------------

    def _on_ask(self, new: Pending) -> list[Effect]:
        if new.ask.id in self._settled or self._find(new.ask.id) is not None:
            return []
        if len(self._pending) >= WAITING_LIMIT:
            return self._settle(new, "refused", TOO_MANY)
        # Platforms deliver out of order; what waits is put in the order in which it was said.
        at = len(self._pending)
        while at and self._is_later(self._pending[at - 1], new):
            at -= 1
        self._pending.insert(at, new)
        return []

    @staticmethod
    def _is_later(waiting: Pending, new: Pending) -> bool:
        return not waiting.asked and waiting.ask.said_at > new.ask.said_at

    def _on_edited(self, event: Edited, *, replayed: bool) -> list[Effect]:
        if not event.text.strip():
            return []
        pending = self._find(event.prompt_id)
        if pending is None:
            return self._anew(event, event.text, replayed=replayed) if event.ask_again else []
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
        replaces = pending.replaces or pending.ask.id
        return self._on_ask(
            Pending(_ask_of(edit, edit.text), replayed=True, order=pending.order, replaces=replaces)
        )

    def _anew(self, event: Again | Edited, text: str, *, replayed: bool) -> list[Effect]:
        """Asks these words in the place of a question; without any, those that it has now."""
        said = self._said_before(event.prompt_id, event.place)
        if said is not None and text == said[0]:
            return []  # answered so before this edit was read, or read again
        ask = _ask_of(event, text or (said[0] if said else "(again)"))
        if said is None:
            known = event.id in self._settled or self._find(event.id) is not None
            return [] if known else self._settle(Pending(ask, replayed), "refused", NOT_REMEMBERED)
        _, order, replaces = said
        return self._on_ask(Pending(ask, replayed, order=order, replaces=replaces))

    def _said_before(self, target: str, place: Place) -> tuple[str, int, str] | None:
        """A question's text, its order and its id when asked first; None: nobody remembers it."""
        for turn in self._turns:
            if turn.is_about(target) and may_recall(turn.place, place):
                return turn.question, turn.order, turn.first or turn.prompt_id
        # People see an answer, and may want another, before the flow has heard of it.
        for pending in self._pending:
            is_meant = target in {pending.ask.id, pending.replaces} and not pending.forgotten
            if is_meant and same_thread(pending.ask.place, place):
                self._put_in_order(pending)
                return pending.ask.text, pending.order, pending.replaces or pending.ask.id
        return None

    @staticmethod
    def _is_stopped(pending: Pending, stop: Stop) -> bool:
        if stop.prompt_id is not None:
            return pending.ask.id == stop.prompt_id
        return same_thread(pending.ask.place, stop.place)

    def _end(self, outcome: Outcome, chosen: Callable[[Pending], bool]) -> list[Effect]:
        effects: list[Effect] = []
        for pending in [p for p in self._pending if chosen(p)]:
            effects.append(
                Cancel(pending.ask.id, outcome)
                if pending.asked
                else Settle(pending.ask, outcome, "")
            )
            self._begin(pending)
            pending.forgotten = pending.forgotten or outcome == "withdrawn"
            pending.ends, pending.edit = outcome, None  # an edit before this is ended, too
        return effects

    def _settle(self, pending: Pending, outcome: Outcome, text: str) -> list[Effect]:
        """A reply without a model; it counts as asked until the journal has it."""
        self._begin(pending)
        pending.ends, pending.words = outcome, text
        self._pending.append(pending)
        return [Settle(pending.ask, outcome, text)]

    def _forget(self, chosen: Callable[[Place], bool]) -> None:
        self._turns.drop(lambda turn: chosen(turn.place))
        for pending in self._pending:
            pending.forgotten = pending.forgotten or chosen(pending.ask.place)

    def _start(self) -> Iterator[Effect]:
        """Asks what may be asked now: one a thread, a few a user, in order."""
        busy = [p.ask.place for p in self._pending if p.asked]
        for pending in [p for p in self._pending if not p.asked]:
            place = pending.ask.place
            if pending.ends is not None:
                self._begin(pending)
                yield Settle(pending.ask, pending.ends, pending.words)
            elif len(busy) < IN_FLIGHT_LIMIT and not any(same_thread(b, place) for b in busy):
                busy.append(place)
                self._begin(pending)
                yield self._call(pending)

    def _begin(self, pending: Pending) -> None:
        """From now on it counts as asked.

        Also one that is settled without a model: after a crash its reply may be an answer.
        """
        pending.asked = True
        self._put_in_order(pending)

    def _put_in_order(self, pending: Pending) -> None:
        """Gives it its place among the turns."""
        pending.order = pending.order or self._next_order
        self._next_order = max(self._next_order, pending.order + 1)

    def _call(self, pending: Pending) -> Effect:
        before = self._turns.before(pending.order)
        try:
            request = request_of(pending.ask, before, self._window, self._ratio)
        except TooLong:
            return Settle(pending.ask, "refused", TOO_LONG)
        self._estimates[pending.ask.id] = request.estimated_tokens
        return CallModel(pending.ask, request, pending.replayed)

    def _remember(self, pending: Pending, reply: Reply) -> None:
        question = reply.prompt_text or pending.ask.text
        turn = turn_of(
            reply.prompt_id, self._turns.shared(pending.ask.place), question, reply.text,
            pending.order, first=pending.replaces,
        )  # fmt: skip
        self._turns.add(turn)

    def _find(self, prompt_id: str) -> Pending | None:
        return next((p for p in self._pending if p.ask.id == prompt_id), None)


def _ask_of(event: Again | Edited, text: str) -> Ask:
    return Ask(
        id=event.id, user=event.user, place=event.place, address=event.address,
        said_at=event.said_at, text=text,
    )  # fmt: skip
