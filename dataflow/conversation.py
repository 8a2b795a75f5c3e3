"""One user's conversation: which question is asked next, and what is remembered.

Pure: no clock, no network, no Bytewax. Events and journaled replies go in, effects come out. Only a
`Journaled` reply ends a question. `question_queue.py` keeps the order of questions and replies,
`memory.py` the turns, and `admission.py` decides whether the model is asked.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from typing import Final

from dataflow.admission import Admission
from dataflow.asked_again import from_pending
from dataflow.asking_again import AskingAgain
from dataflow.audience import may_recall, same_channel
from dataflow.effects import (
    CallModel,
    Cancel,
    Effect,
    Summarized,
    Wait,
)
from dataflow.forgetting import Forgetting
from dataflow.linked_accounts import LinkedAccounts
from dataflow.memory import Memory
from dataflow.pending import QUEUED, Ending, Pending
from dataflow.question_queue import QuestionQueue
from dataflow.retention import Kept
from dataflow.snapshot import SNAPSHOT, Snapshot, StoredQuestion
from dataflow.tokens import FIRST_RATIO, Window
from dataflow.turn import Turn
from shared.messages import (
    Again,
    AnyEvent,
    Ask,
    Deleted,
    Edited,
    Forget,
    Linked,
    Place,
    Reset,
    Stop,
    Unlinked,
)
from shared.replies import Journaled, Outcome

TOO_MANY: Final = "You have too many unanswered questions. Please wait until some are answered."

_NEW: Final = Snapshot(pending=(), turns=(), settled=(), next_order=1, ratio=FIRST_RATIO)


class Conversation:
    """The rules for one user. It is not thread-safe and has one owner at a time."""

    def __init__(
        self,
        window: Window,
        user: str = "",
        stored: Snapshot = _NEW,
        *,
        links_accounts: bool = False,
    ) -> None:
        self.user = user
        """Empty if a snapshot of an older version does not name the user."""
        self._memory = Memory(window, stored.turns, stored.cuts, stored.ratio, stored.calls)
        self._queue = QuestionQueue(
            map(StoredQuestion.restored, stored.pending),
            settled=stored.settled,
            latest=stored.latest,
            without_answer=stored.unanswered,
            next_order=stored.next_order,
        )
        self._asking_again = AskingAgain(self._queue, self._memory)
        self._forgetting = Forgetting(stored.erasing, stored.forgotten_at)
        self._linked = LinkedAccounts(stored.links, enabled=links_accounts)
        self.admission = Admission(self._queue, self._memory, self._linked, stored.budget)
        """What budgets and linked accounts say about a question goes there."""
        self._kept: Kept | None = None

    # --- retention --------------------------------------------------------------------------

    def forget_older(self, kept: Kept) -> None:
        """Forgets answered questions of earlier days, once a day."""
        if self._kept != kept:
            self._kept = kept
            self._memory.forget_older(kept)

    # --- snapshots --------------------------------------------------------------------------

    def dump(self) -> bytes:
        """The conversation as JSON."""
        return Snapshot(
            user=self.user,
            erasing=self._forgetting.requests,
            pending=tuple(map(StoredQuestion.of, self._queue)),
            turns=tuple(self._memory.turns),
            settled=tuple(self._queue.settled),
            next_order=self._queue.next_order,
            ratio=self._memory.ratio,
            latest=self._queue.latest,
            unanswered=tuple(self._queue.without_answer),
            cuts=self._memory.starts.by_thread,
            calls=tuple(self._memory.summaries.unreported),
            forgotten_at=self._forgetting.last_at,
            budget=self.admission.ledger,
            links=self._linked.accounts,
        ).dump()

    @classmethod
    def load(cls, data: bytes, window: Window, *, links_accounts: bool = False) -> "Conversation":
        """The conversation in a snapshot.

        Raises:
            ValueError: this version cannot read it.
        """
        snapshot = SNAPSHOT.validate_json(data)
        return cls(window, snapshot.user, snapshot, links_accounts=links_accounts)

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The answered questions that are remembered, in order."""
        return tuple(turn for turn in self._memory.turns if turn.answer)

    @property
    def pending(self) -> tuple[Pending, ...]:
        """The questions without a reply."""
        return tuple(self._queue)

    @property
    def has_work(self) -> bool:
        """Whether a question has no reply yet, or the user is not forgotten yet."""
        return bool(self.pending or self._forgetting.requests)

    # --- events -----------------------------------------------------------------------------

    def on_event(self, event: AnyEvent, *, replayed: bool) -> list[Effect]:
        """Handles an event of this user; `replayed`: it was stored before this run."""
        effects: list[Effect] = []
        match event:
            case Ask():
                effects = self._on_ask(Pending(event, replayed))
            case Stop():
                effects = self._end("stopped", lambda p: p.is_meant_by(event))
            case Deleted():
                effects = self._on_deleted(event)
            case Edited():
                effects = self._on_edited(event, replayed=replayed)
            case Again():
                effects = self._on_ask(self._asking_again.again(event, replayed=replayed))
            case Reset():
                self._forget(lambda p: may_recall(p, event.place) or same_channel(p, event.place))
            case Forget():
                effects = self._on_forget(event)
            case Linked():
                self._linked.link(event)
            case Unlinked():
                self._linked.unlink(event)
            # Rate and Configure are for other readers of the stream.
        return [*effects, *self._start_ready()]

    def on_reply(self, journaled: Journaled) -> list[Effect]:
        """Handles the journal's reply to a question."""
        reply = journaled.reply
        if self._forgetting.requests and self._forgetting.end(reply):
            self._linked.forget()
            return list(self._start_ready())
        pending = self._queue.find(reply.prompt_id)
        if pending is not None and pending.state in QUEUED:
            # Of a call from before the conversation was loaded. In its turn, the journal is asked.
            pending.check_journal = True
            return []
        request = self.admission.take_request(reply.prompt_id)
        summaries = self._memory.summaries
        if summaries.unreported:
            summaries.reported(journaled)
        if pending is None:
            return []
        self._queue.settle(pending, reply)
        spent = self.admission.spent(pending, reply)
        turn = None
        if pending.leaves_a_turn(reply):
            turn = self._memory.remember(pending, reply, request)
        # A stored reply reports the usage of an older request, so it cannot correct the estimate.
        if reply.outcome == "answered" and reply.usage is not None and not pending.out_of_turn:
            self._memory.correct_ratio(request, reply.usage.prompt_tokens)
        edited = self._asking_again.after_reply(pending, reply)
        effects = [*spent, *self._on_ask(edited), *self._start_ready()]
        if turn is not None and summaries.is_possible and summaries.may_be_due(turn, request):
            effects += self._memory.summarize(turn.place)
        return effects

    def on_summarized(self, result: Summarized) -> list[Effect]:
        """Handles the end of a call for a summary."""
        is_wanted_again = self._memory.summaries.end(result)
        return [*self._memory.summarize(result.fold.place)] if is_wanted_again else []

    def known_to(self, account: str) -> tuple[Turn, ...]:
        """What another account of this person, or of somebody who says so, may know of it."""
        turns = () if self._forgetting.requests else self._memory.turns
        return self._linked.known_to(account, turns)

    def resume(self, answered_elsewhere: Collection[str] = ()) -> list[Effect]:
        """Starts the pending questions again after a restart.

        Another process is still answering those `answered_elsewhere`.
        """
        return [
            replace(effect, answered_elsewhere=True)
            if isinstance(effect, CallModel) and effect.ask.id in answered_elsewhere
            else effect
            for effect in self._start_ready()
        ]

    @property
    def may_wait(self) -> bool:
        """Whether `announce_waits` may have anything to announce."""
        return self._queue.may_wait

    def announce_waits(self) -> Iterator[Wait]:
        """Announces each question that has begun to wait, or now waits for another reason."""
        return self._queue.announce_waits()

    # --- questions --------------------------------------------------------------------------

    def _on_ask(self, new: Pending | None) -> list[Effect]:
        if new is None or self._queue.find(new.ask.id) is not None:
            return []
        if new.ask.id in self._queue.settled:
            if not self._forgetting.covers(new.ask):
                return self._look_up(new)
            new.withdraw_words()  # its reply was erased, and answering again would store it again
        if self._queue.is_full:
            return self._refuse_at_once(new)
        self._queue.add(new)
        return []

    def _look_up(self, new: Pending) -> list[Effect]:
        """Looks in the journal for the reply to a settled question that comes again.

        It almost always is there. If the journal was lost, the question is answered out of turn,
        and not remembered, because it may have been deleted since.
        """
        new.check_journal = new.forgotten = new.out_of_turn = True
        self._queue.add(new)
        return [self.admission.begin(new)]

    def _refuse_at_once(self, new: Pending) -> list[Effect]:
        """Refuses a question because the queue is full, which may no longer be so in its turn."""
        new.ending, new.out_of_turn = Ending("refused", TOO_MANY), True
        self._queue.add(new)
        return [self.admission.begin(new)]

    def _on_deleted(self, event: Deleted) -> list[Effect]:
        is_pending = self._queue.find(event.prompt_id) is not None
        withdrawn = self._memory.delete(event.prompt_id, event.place, is_pending=is_pending)
        # This also ends a newer answer to the same question.
        effects = self._end("withdrawn", lambda p: event.prompt_id in {p.ask.id, p.replaces})
        return [*effects, *self._memory.summarize(event.place)] if withdrawn else effects

    def _on_edited(self, event: Edited, *, replayed: bool) -> list[Effect]:
        pending = self._queue.find(event.prompt_id)
        if pending is None:
            effects = self._on_ask(self._asking_again.late_edit(event, replayed=replayed))
            if self._memory.edit(event.prompt_id, event.text, event.place):
                effects += self._memory.summarize(event.place)
            return effects
        if from_pending(pending).can_be_asked_with(event.text):
            pending.change_text(event)
        return []

    def _end(self, outcome: Outcome, chosen: Callable[[Pending], bool]) -> list[Effect]:
        """Ends questions: a call is cancelled, a question that waits is settled in its turn."""
        effects: list[Effect] = []
        for pending in [p for p in self._queue if chosen(p)]:
            if pending.state not in QUEUED or self._queue.take_back_wait(pending):
                effects.append(Cancel(pending.ask.id, outcome))
            pending.end(outcome)
        return effects

    def _start_ready(self) -> Iterator[Effect]:
        for pending in self._queue.ready():
            yield self.admission.begin(pending)
        if self._forgetting.requests and not self._queue.is_withdrawing:
            erase = self._forgetting.begin(self._linked.accounts)
            if erase is not None:
                yield erase

    def _on_forget(self, event: Forget) -> list[Effect]:
        """Drops everything except ids; the stores are erased once no question is pending."""
        self._forget(lambda _: True)
        effects = self._end("withdrawn", lambda _: True)
        self._queue.forget_words()
        self._forgetting.add(event)
        return effects

    def _forget(self, chosen: Callable[[Place], bool]) -> None:
        self._memory.forget(chosen)
        for pending in self._queue:
            pending.forgotten = pending.forgotten or chosen(pending.ask.place)
