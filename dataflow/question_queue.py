"""One user's unanswered questions: which one is next.

Pure. In each thread one question at a time is in progress; the next one starts when the reply
before it is in the journal. So each reply can name its predecessor, predecessors are always older
in the journal, and no crash or replay can make two replies wait for each other.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from pydantic import AwareDatetime

from dataflow.audience import same_thread
from dataflow.effects import Wait
from dataflow.model.status import Queued
from dataflow.pending import QUEUED, Pending
from shared.messages import Place
from shared.replies import Reply

IN_PROGRESS_LIMIT: Final = 3
"""Questions of one user that are in progress at the same time, in different threads."""

PENDING_LIMIT: Final = 100
"""Unanswered questions of one user. Further ones are refused, so that the state stays bounded."""

ANNOUNCED_LIMIT: Final = 5
"""Questions of one user whose wait is announced at the same time; more notices would not help."""

SETTLED_LIMIT: Final = 256
"""Ids of a user's last settled questions, which identify a second delivery."""

WITHOUT_ANSWER_LIMIT: Final = 16
"""Ids of a user's last refused or failed questions: an edit of one of them is a new attempt."""

THREADS_LIMIT: Final = 64
"""Threads of a user whose latest reply is remembered. In an older thread, a reply does not name the
one before it, which has been shown long before the user asked in 64 other threads."""

NAMED_FOR: Final = timedelta(hours=25)
"""A relay gives up on a reply after a day, so an older one is either shown or a dead letter."""


@dataclass(frozen=True, slots=True)
class LatestReply:
    """The question of a thread whose reply came last into the journal."""

    prompt_id: str
    answered_at: AwareDatetime


class QuestionQueue:
    """The pending questions of one user, in the order in which they take their turns."""

    def __init__(
        self,
        pending: Iterable[Pending] = (),
        *,
        settled: Iterable[str] = (),
        latest: Mapping[str, LatestReply] | None = None,
        without_answer: Iterable[str] = (),
        next_order: int = 1,
    ) -> None:
        self._pending = list(pending)
        # Dicts keep the order in which questions were settled, and are quick to search.
        self.settled = dict.fromkeys(settled)
        self.without_answer = dict.fromkeys(without_answer)
        # By thread, the newest thread last.
        self.latest = dict(latest or {})
        self.next_order = next_order
        # By question, the reason in its last `Wait`.
        self._announced: dict[str, Queued] = {}

    def __iter__(self) -> Iterator[Pending]:
        return iter(self._pending)

    @property
    def is_withdrawing(self) -> bool:
        """Whether a withdrawn question has no reply yet."""
        return any(p.ending is not None and p.ending.outcome == "withdrawn" for p in self._pending)

    def forget_words(self) -> None:
        """Keeps the ids of questions, but no words, and no reply that a later one would name."""
        for pending in self._pending:
            pending.withdraw_words()
        self.without_answer.clear()
        self.latest.clear()

    @property
    def is_full(self) -> bool:
        """Whether no further question can be taken."""
        return len(self._pending) >= PENDING_LIMIT

    def find(self, prompt_id: str) -> Pending | None:
        """The pending question with this id."""
        for pending in self._pending:
            if pending.ask.id == prompt_id:
                return pending
        return None

    def find_newest(self, target: str, place: Place) -> Pending | None:
        """The newest version of a question in this thread, by any of its ids, unless forgotten."""
        for pending in reversed(self._pending):
            is_meant = target in {pending.ask.id, pending.replaces} and not pending.forgotten
            if is_meant and same_thread(pending.ask.place, place):
                return pending
        return None

    def add(self, new: Pending) -> None:
        """Adds a question, before any that wait and were sent later: platforms reorder events."""
        waiting = () if new.out_of_turn else enumerate(self._pending)
        later = (at for at, pending in waiting if _is_later(pending, new))
        self._pending.insert(next(later, len(self._pending)), new)

    def settle(self, pending: Pending, reply: Reply) -> None:
        """Removes a question: the journal has this reply to it."""
        self._pending.remove(pending)
        self.settled[pending.ask.id] = None
        if reply.outcome in {"refused", "failed"} and not pending.forgotten:
            self.without_answer[pending.ask.id] = None
        if not pending.out_of_turn:
            thread = thread_key(pending.ask.place)
            self.latest.pop(thread, None)
            self.latest[thread] = LatestReply(reply.prompt_id, reply.answered_at)
        _keep_newest(self.settled, SETTLED_LIMIT)
        _keep_newest(self.without_answer, WITHOUT_ANSWER_LIMIT)
        _keep_newest(self.latest, THREADS_LIMIT)

    def ready(self) -> Iterator[Pending]:
        """The questions whose turn has come: one per thread, and few model calls per user."""
        queued = [p for p in self._pending if p.state in QUEUED]
        if not queued:
            return
        threads = self._threads_in_progress()
        in_progress, taken = len(threads), set(threads)
        for pending in queued:
            thread = thread_key(pending.ask.place)
            if thread in taken:
                continue
            taken.add(thread)  # even if it must wait: no other question of its thread may pass it
            if pending.ending is not None:
                yield pending
            elif in_progress < IN_PROGRESS_LIMIT:
                in_progress += 1
                yield pending

    def begin(self, pending: Pending) -> str | None:
        """Starts a question; returns the question whose reply comes before its own."""
        pending.begin()
        self._announced.pop(pending.ask.id, None)
        self._put_in_order(pending)
        return self._predecessor(pending)

    def put_in_order(self, pending: Pending) -> None:
        """Gives a question its place among the turns, after those that come before it."""
        place = pending.ask.place
        for earlier in self._pending[: self._pending.index(pending)]:
            if same_thread(earlier.ask.place, place):
                self._put_in_order(earlier)
        self._put_in_order(pending)

    def _put_in_order(self, pending: Pending) -> None:
        pending.order = pending.order or self.next_order
        self.next_order = max(self.next_order, pending.order + 1)

    @property
    def may_wait(self) -> bool:
        """Whether any question may have to wait. A single one never does."""
        return len(self._pending) > 1

    def announce_waits(self) -> Iterator[Wait]:
        """Announces each question that has begun to wait, or now waits for another reason."""
        threads = set(self._threads_in_progress())
        for pending in self._pending:
            if pending.state not in QUEUED:
                continue
            thread = thread_key(pending.ask.place)
            reason: Queued = "thread" if thread in threads else "limit"
            threads.add(thread)
            announced = self._announced.get(pending.ask.id)
            has_room = announced is not None or len(self._announced) < ANNOUNCED_LIMIT
            if pending.ending is None and announced != reason and has_room:
                self._announced[pending.ask.id] = reason
                after = None if reason == "thread" else self._predecessor(pending)
                yield Wait(pending.ask, reason, after)

    def take_back_wait(self, pending: Pending) -> bool:
        """Forgets that the question's wait was announced; returns whether it was."""
        return self._announced.pop(pending.ask.id, None) is not None

    def _threads_in_progress(self) -> list[str]:
        return [
            thread_key(p.ask.place)
            for p in self._pending
            if p.state not in QUEUED and not p.out_of_turn
        ]

    def _predecessor(self, pending: Pending) -> str | None:
        if pending.out_of_turn:
            return None
        latest = self.latest.get(thread_key(pending.ask.place))
        if latest is None or pending.ask.said_at - latest.answered_at > NAMED_FOR:
            return None
        return latest.prompt_id


def _is_later(queued: Pending, new: Pending) -> bool:
    return queued.state in QUEUED and queued.ask.said_at > new.ask.said_at


def thread_key(place: Place) -> str:
    """A key that is equal for places in the `same_thread`. A user belongs to one platform."""
    return f"{place.channel}/{place.thread}"


def _keep_newest(entries: dict[str, Any], limit: int) -> None:
    while len(entries) > limit:
        del entries[next(iter(entries))]
