"""NATS in memory, for the relay's simulation: journal, durable consumer, bucket, dead letters.

It behaves as nats-server 2.15 where the relay depends on it: each connection delivers messages in
order both ways, conditions in headers are obeyed, and unacknowledged messages are redelivered after
the wait, before new ones. nats-py's own JetStream and key-value clients talk to it.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import nats.errors
from nats.aio.msg import Msg

from tests.chaos.simulated_loop import Life, Scheduler

Headers = dict[str, str]
Callback = Callable[[Msg], Awaitable[None]]

REDELIVERY_LATE_S = 0.2
"""The longest delay of a redelivery: the server checks for overdue messages by a timer."""

RECONNECT_S = 0.25
"""How long a client takes to reconnect."""

LAGS_S = 2.0
"""How long a replica may answer reads with what was there before."""

_NO_CONSUMER = {"code": 404, "err_code": 10014, "description": "consumer not found"}


class _Pull:
    """A pull request that waits for messages."""

    def __init__(self, connection: "Connection", inbox: str, request: dict[str, Any]) -> None:
        self.connection = connection
        self.inbox = inbox
        self.left = int(request["batch"])
        self.expires_s = request["expires"] / 1e9
        self.heartbeat_s = request["idle_heartbeat"] / 1e9
        self.heard = 0.0


class Server:
    """The state that survives every process. A sequence is a 1-based position in `replies`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.replies: list[tuple[str, bytes]] = []
        self.receipts: dict[str, tuple[int, bytes]] = {}
        self._before: dict[str, tuple[float, tuple[int, bytes]]] = {}
        self.letters: dict[str, str] = {}
        self.unacknowledged: dict[int, float] = {}
        self.acknowledged: set[int] = set()
        self.connections: list[Connection] = []
        self._scheduler = scheduler
        self._stored = 0
        self._config: dict[str, Any] | None = None
        self._sent = 0
        self._deliveries = 0
        self._times: dict[int, int] = {}
        self._overdue: list[int] = []
        self._pulls: deque[_Pull] = deque()

    # --- called by the world ------------------------------------------------------------------

    def journal(self, subject: str, data: bytes) -> None:
        self.replies.append((subject, data))
        self._deliver()

    def publish_unstored(self, subject: str, data: bytes) -> None:
        """Publishes a message that is not stored."""
        for connection in self.connections:
            connection.hear(subject, "", data, None)

    @property
    def all_acknowledged(self) -> bool:
        return len(self.acknowledged) == len(self.replies)

    # --- called by a connection ---------------------------------------------------------------

    def forget(self, connection: "Connection") -> None:
        self._pulls = deque(pull for pull in self._pulls if pull.connection is not connection)

    def take(
        self, connection: "Connection", subject: str, reply: str, data: bytes, headers: Headers
    ) -> None:
        """Handles one message from a client."""
        if subject.startswith("$JS.ACK."):
            self._on_ack(int(subject.split(".")[5]), data)
        elif subject.startswith("$KV."):
            connection.hear(reply, "", _json(self._on_put(subject, data, headers)), None)
        elif subject.startswith("$JS.API.DIRECT.GET."):
            key = subject.split(".", 5)[5]
            sequence, value = self._read(key)
            found = {"Nats-Subject": key, "Nats-Sequence": str(sequence)}
            connection.hear(reply, "", value, found if sequence else {"Status": "404"})
        elif subject.startswith("dlq."):
            self.letters[headers["Nats-Msg-Id"]] = headers["Threadwax-Reason"]
            connection.hear(reply, "", _json({"stream": "DLQ", "seq": len(self.letters)}), None)
        elif ".CONSUMER.MSG.NEXT." in subject:
            self._on_pull(_Pull(connection, reply, json.loads(data)))
        elif ".CONSUMER.CREATE." in subject:
            self._config = json.loads(data)["config"]
            connection.hear(reply, "", _json(self._info()), None)
        else:
            assert ".CONSUMER.INFO." in subject, subject
            connection.hear(reply, "", _json(self._info()), None)

    def _read(self, key: str) -> tuple[int, bytes]:
        """A receipt as any of three servers has it, of which one may lag."""
        changed_at, before = self._before.get(key, (0.0, (0, b"")))
        is_recent = key in self._before and self._scheduler.now - changed_at < LAGS_S
        lags = is_recent and not self._scheduler.rng.randrange(3)
        return before if lags else self.receipts.get(key, (0, b""))

    def _info(self) -> dict[str, Any]:
        if self._config is None:
            return {"error": _NO_CONSUMER}
        return {
            "name": self._config["name"], "stream_name": "REPLIES", "config": self._config,
            "created": "2026-01-01T00:00:00Z", "num_ack_pending": len(self.unacknowledged),
        }  # fmt: skip

    def _on_put(self, key: str, value: bytes, headers: Headers) -> dict[str, Any]:
        wanted = headers.get("Nats-Expected-Last-Subject-Sequence")
        if wanted is not None and int(wanted) != self.receipts.get(key, (0, b""))[0]:
            last = self.receipts.get(key, (0, b""))[0]
            wrong = {"code": 400, "err_code": 10071, "description": f"wrong last sequence: {last}"}
            return {"error": wrong}
        self._before[key] = (self._scheduler.now, self.receipts.get(key, (0, b"")))
        self._stored += 1
        self.receipts[key] = (self._stored, value)
        return {"stream": "KV_RECEIPTS", "seq": self._stored}

    # --- the consumer -------------------------------------------------------------------------

    def _ack_wait_s(self) -> float:
        assert self._config is not None
        return float(self._config["ack_wait"] / 1e9)

    def _on_ack(self, sequence: int, data: bytes) -> None:
        if sequence in self.unacknowledged:
            if data == Msg.Ack.Progress:
                self.unacknowledged[sequence] = self._scheduler.now + self._ack_wait_s()
            else:
                del self.unacknowledged[sequence]
                self.acknowledged.add(sequence)

    def _on_pull(self, pull: _Pull) -> None:
        pull.heard = self._scheduler.now
        self._pulls.append(pull)
        self._scheduler.later(pull.heartbeat_s, self._beat, pull)
        self._scheduler.later(pull.expires_s, self._expire, pull)
        self._deliver()

    def _beat(self, pull: _Pull) -> None:
        if pull in self._pulls:
            due = pull.heard + pull.heartbeat_s
            if due <= self._scheduler.now:
                pull.connection.hear(pull.inbox, "", b"", {"Status": "100"})
                pull.heard, due = self._scheduler.now, self._scheduler.now + pull.heartbeat_s
            self._scheduler.later(due - self._scheduler.now, self._beat, pull)

    def _expire(self, pull: _Pull) -> None:
        if pull in self._pulls:
            self._pulls.remove(pull)
            ended = {"Status": "408", "Nats-Pending-Messages": str(pull.left)}
            pull.connection.hear(pull.inbox, "", b"", ended)

    def _deliver(self) -> None:
        while self._pulls and (sequence := self._next()):
            pull = self._pulls[0]
            pull.heard = self._scheduler.now
            pull.left -= 1
            if not pull.left:
                self._pulls.popleft()
            self._deliveries += 1
            times = self._times[sequence] = self._times.get(sequence, 0) + 1
            self.unacknowledged[sequence] = self._scheduler.now + self._ack_wait_s()
            self._schedule_redelivery(sequence)
            reply = f"$JS.ACK.REPLIES.test.{times}.{sequence}.{self._deliveries}.0.0"
            subject, data = self.replies[sequence - 1]
            pull.connection.hear(pull.inbox, reply, data, None, shown_as=subject)

    def _next(self) -> int:
        while self._overdue:
            sequence = self._overdue.pop(0)
            if sequence in self.unacknowledged:
                return sequence
        if self._sent < len(self.replies):
            self._sent += 1
            return self._sent
        return 0

    def _schedule_redelivery(self, sequence: int) -> None:
        late_s = self._scheduler.rng.uniform(0, REDELIVERY_LATE_S)
        wait_s = self.unacknowledged[sequence] - self._scheduler.now + late_s
        self._scheduler.later(wait_s, self._redeliver_if_overdue, sequence)

    def _redeliver_if_overdue(self, sequence: int) -> None:
        if sequence not in self.unacknowledged or sequence in self._overdue:
            return
        if self.unacknowledged[sequence] > self._scheduler.now:
            self._schedule_redelivery(sequence)
        else:
            self._overdue = sorted([*self._overdue, sequence])
            self._deliver()


class Connection:
    """A process's connection: what `shared` uses of nats-py's client. Ordered both ways."""

    max_payload = 1 << 20
    is_clustered = True
    connected_server_version = SimpleNamespace(major=2, minor=15)

    def __init__(self, server: Server, scheduler: Scheduler, life: Life) -> None:
        self.is_connected = True
        self.on_reconnected: Callable[[], None] = lambda: None
        self._server = server
        self._scheduler = scheduler
        self._life = life
        self._inboxes = 0
        self._up: deque[tuple[str, str, bytes, Headers]] = deque()
        self._down: deque[tuple[str, Msg]] = deque()
        self._waiting: dict[str, asyncio.Future[Msg]] = {}
        self._subscriptions: dict[str, asyncio.Queue[Msg]] = {}
        self._subscribed: set[str] = set()
        server.connections.append(self)

    # --- nats-py's client interface -----------------------------------------------------------

    def new_inbox(self) -> str:
        self._inboxes += 1
        return f"_INBOX.{self._inboxes}"

    async def subscribe(self, subject: str, *, cb: Callback, **_: int) -> "Connection":
        queue = self._subscriptions[subject] = asyncio.Queue()

        async def read() -> None:
            while True:
                await cb(await queue.get())

        self._life.create_task(read())
        self._send("SUB", subject, b"", {})
        return self

    async def unsubscribe(self) -> None:
        """Does nothing: only processes that end cleanly call this; simulated ones are killed."""

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: Headers | None = None
    ) -> None:
        self._send(subject, reply, payload, headers or {})

    async def request(
        self,
        subject: str,
        payload: bytes,
        *,
        timeout: float,  # noqa: ASYNC109  (nats-py's)
        headers: Headers | None = None,
    ) -> Msg:
        inbox = self.new_inbox()
        answer = self._waiting[inbox] = self._life.create_future()
        over = self._life.call_later(timeout, _time_out, answer)
        try:
            self._send(subject, inbox, payload, headers or {})
            return await answer
        finally:
            over.cancel()
            del self._waiting[inbox]

    # --- the wire -----------------------------------------------------------------------------

    def _send(self, subject: str, reply: str, data: bytes, headers: Headers) -> None:
        if not self._life.dead:
            self._up.append((subject, reply, data, headers))
            self._scheduler.soon(self._arrive)

    def _arrive(self) -> None:
        if self._up and self.is_connected:
            subject, reply, data, headers = self._up.popleft()
            if subject == "SUB":
                self._subscribed.add(reply)
            elif subject == "CLOSE":
                self._server.forget(self)
                self._server.connections.remove(self)
            else:
                self._server.take(self, subject, reply, data, headers)

    def hear(
        self, inbox: str, reply: str, data: bytes, headers: Headers | None, *, shown_as: str = ""
    ) -> None:
        """Takes a message from the server. It is lost if the connection breaks first."""
        if self.is_connected:
            message = Msg(self, shown_as or inbox, reply, data, headers)  # type: ignore[arg-type]
            self._down.append((inbox, message))
            self._scheduler.soon(self._hand_over)

    def _hand_over(self) -> None:
        if not self._down or self._life.dead:
            return
        inbox, message = self._down.popleft()
        if (answer := self._waiting.get(inbox)) is not None:
            if not answer.done():
                answer.set_result(message)
            return
        for subject in self._subscribed:
            if inbox == subject or (subject[-1] == ">" and inbox.startswith(subject[:-1])):
                self._subscriptions[subject].put_nowait(message)

    # --- crashes and broken connections -------------------------------------------------------

    def die(self) -> None:
        """The process was killed. Some of the messages it wrote still arrive."""
        for _ in range(self._scheduler.rng.randint(0, len(self._up))):
            self._up.pop()
        self._up.append(("CLOSE", "", b"", {}))
        for _ in range(len(self._up)):
            self._scheduler.soon(self._arrive)

    def cut(self) -> None:
        """The connection breaks. Some or all messages in transit are lost."""
        if self._life.dead or not self.is_connected:
            return
        self.is_connected = False
        self._server.forget(self)
        self._down.clear()
        for _ in range(self._scheduler.rng.randint(0, len(self._up))):
            self._up.pop()
        self._scheduler.later(RECONNECT_S, self._back)

    def _back(self) -> None:
        if not self._life.dead:
            self.is_connected = True
            self._subscribed = set(self._subscriptions)
            for _ in range(len(self._up)):
                self._scheduler.soon(self._arrive)
            self._life.call_soon(self.on_reconnected)


def _time_out(answer: "asyncio.Future[Msg]") -> None:
    if not answer.done():
        answer.set_exception(nats.errors.TimeoutError())


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()
