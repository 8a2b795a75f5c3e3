"""One user's unanswered questions: which may be asked now, and whose reply each reply follows.

Pure. In a thread one question at a time is asked or settled, and the next one only after the reply
before it is in the journal. So each reply can name its predecessor, predecessors are always older
in the journal, and no crash or replay can make two replies wait for each other.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from dataflow.audience import same_thread
from dataflow.effects import Wait
from dataflow.model.status import Queued
from dataflow.snapshot import Latest, Pending
from shared.messages import Place, Reply

IN_FLIGHT_LIMIT: Final = 3
"""Questions of one user that are asked at once, in different threads."""

WAITING_LIMIT: Final = 100
"""Unanswered questions of one user; more are refused, so that state stays bounded."""

QUEUED_LIMIT: Final = 5
"""Questions of one user that say at the same time that they wait: more would tell nobody more."""

SETTLED_LIMIT: Final = 256
"""Ids of a user's last settled questions, against a second delivery."""

WITHOUT_ANSWER_LIMIT: Final = 16
"""Ids of a user's last refused or failed questions: an edit of one of these is a new attempt."""

THREADS_LIMIT: Final = 64
"""Threads of a user in which the next reply names the one before it. In one that is older than
these, a reply would have to be unshown while the user asked in 64 others."""

NAMED_FOR: Final = timedelta(hours=25)
"""A relay gives a reply up after a day: an older one is shown by now, or is a dead letter."""


class Unanswered:
    """Pending questions in the order in which they are asked. Iterates over all of them."""

    def __init__(
        self,
        pending: Iterable[Pending] = (),
        *,
        settled: Iterable[str] = (),
        latest: Mapping[str, Latest] | None = None,
        without_answer: Iterable[str] = (),
        next_order: int = 1,
    ) -> None:
        self._pending = list(pending)
        # Dicts keep the order in which questions were settled, and find one at once.
        self.settled = dict.fromkeys(settled)
        self.without_answer = dict.fromkeys(without_answer)
        # By thread, the last question whose reply is in the journal; the newest thread is last.
        self.latest = dict(latest or {})
        self.next_order = next_order
        # By question, why it waits, as its last `Wait` said.
        self._queued: dict[str, Queued] = {}

    def __iter__(self) -> Iterator[Pending]:
        return iter(self._pending)

    @property
    def is_full(self) -> bool:
        """Whether one more question is one too many."""
        return len(self._pending) >= WAITING_LIMIT

    def find(self, prompt_id: str) -> Pending | None:
        """The pending question of that id."""
        for pending in self._pending:
            if pending.ask.id == prompt_id:
                return pending
        return None

    def newest_about(self, target: str, place: Place) -> Pending | None:
        """The newest version of a question that is to be remembered, with its place in order."""
        for pending in reversed(self._pending):
            is_meant = target in {pending.ask.id, pending.replaces} and not pending.forgotten
            if is_meant and same_thread(pending.ask.place, place):
                self.put_in_order(pending)
                return pending
        return None

    def add(self, new: Pending) -> None:
        """Takes a question, sorted among those that wait by when it was said.

        Platforms deliver out of order.
        """
        waiting = () if new.at_once else enumerate(self._pending)
        later = (at for at, pending in waiting if self._is_later(pending, new))
        self._pending.insert(next(later, len(self._pending)), new)

    def settle(self, pending: Pending, reply: Reply) -> None:
        """The journal has this reply: its question is over."""
        self._pending.remove(pending)
        self.settled[pending.ask.id] = None
        if reply.outcome in {"refused", "failed"} and not pending.forgotten:
            self.without_answer[pending.ask.id] = None
        if not pending.at_once:
            thread = thread_key(pending.ask.place)
            self.latest.pop(thread, None)
            self.latest[thread] = Latest(reply.prompt_id, reply.answered_at)
        _keep_newest(self.settled, SETTLED_LIMIT)
        _keep_newest(self.without_answer, WITHOUT_ANSWER_LIMIT)
        _keep_newest(self.latest, THREADS_LIMIT)

    def ready(self) -> Iterator[Pending]:
        """What may be asked or settled now: one a thread, in order, and few model calls a user."""
        waiting = [p for p in self._pending if not p.asked]
        if not waiting:
            return
        asked = [thread_key(p.ask.place) for p in self._pending if p.asked and not p.at_once]
        calling, threads = len(asked), set(asked)
        for pending in waiting:
            thread = thread_key(pending.ask.place)
            if thread in threads:
                continue
            threads.add(thread)  # also if it has to wait: nothing in its thread may pass it
            if pending.ends is not None:
                yield pending
            elif calling < IN_FLIGHT_LIMIT:
                calling += 1
                yield pending

    @property
    def may_wait(self) -> bool:
        """Whether a question may have to wait. One alone is asked."""
        return len(self._pending) > 1

    def waits(self) -> Iterator[Wait]:
        """What has begun to wait since the last call, or waits for another reason now."""
        threads = {thread_key(p.ask.place) for p in self._pending if p.asked and not p.at_once}
        for pending in self._pending:
            if pending.asked:
                continue
            thread = thread_key(pending.ask.place)
            why: Queued = "thread" if thread in threads else "share"
            threads.add(thread)
            told = self._queued.get(pending.ask.id)
            has_room = told is not None or len(self._queued) < QUEUED_LIMIT
            if pending.ends is None and told != why and has_room:
                self._queued[pending.ask.id] = why
                yield Wait(pending.ask, why, None if why == "thread" else self._after(pending))

    def was_queued(self, pending: Pending) -> bool:
        """Whether a `Wait` said that it waits, which is over now."""
        return self._queued.pop(pending.ask.id, None) is not None

    def begin(self, pending: Pending) -> str | None:
        """Counts it as asked from now on; returns the question whose reply comes before its own."""
        pending.asked = True
        self._queued.pop(pending.ask.id, None)
        self.put_in_order(pending)
        return self._after(pending)

    def _after(self, pending: Pending) -> str | None:
        if pending.at_once:
            return None
        latest = self.latest.get(thread_key(pending.ask.place))
        if latest is None or pending.ask.said_at - latest.answered_at > NAMED_FOR:
            return None
        return latest.prompt_id

    def put_in_order(self, pending: Pending) -> None:
        """Gives it its place among the turns."""
        pending.order = pending.order or self.next_order
        self.next_order = max(self.next_order, pending.order + 1)

    @staticmethod
    def _is_later(waiting: Pending, new: Pending) -> bool:
        return not waiting.asked and waiting.ask.said_at > new.ask.said_at


def thread_key(place: Place) -> str:
    """The same for places that are the `same_thread`; a user has one platform."""
    return f"{place.channel}/{place.thread}"


def _keep_newest(entries: dict[str, Any], limit: int) -> None:
    while len(entries) > limit:
        del entries[next(iter(entries))]
