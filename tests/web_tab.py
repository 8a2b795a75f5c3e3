"""A tab of a browser as the web page's server sees it: it speaks Streamlit's websocket protocol.

It keeps what the page shows, presses its buttons, and connects again after each loss, as a browser
does. It must never show more than the server sent.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlencode

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

RECONNECT_S: Final = 0.2
OPEN_S: Final = 10.0
PING_S: Final = 3.0
"""A browser has no such pings, but its person reloads a page that is dead."""

MAIN: Final = 0
NO_TOKEN: Final = "PLACEHOLDER_AUTH_TOKEN"  # noqa: S105  (what Streamlit's own page sends)

Path = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """An element or a block at one place of the page, drawn by one run of the script."""

    run: str
    proto: Any
    is_block: bool

    @property
    def kind(self) -> str:
        """The name of its type in Streamlit's protocol."""
        return str(self.proto.WhichOneof("type") or "")

    @property
    def text(self) -> str:
        """The text that people read."""
        if self.is_block:
            return ""
        inner = getattr(self.proto, self.kind, None)
        return str(getattr(inner, "body", "") or getattr(inner, "label", ""))


@dataclass
class ShownTurn:
    """A question with its answer, as the page shows them."""

    id: str
    question: str = ""
    answer: str = ""
    buttons: set[str] = field(default_factory=set)

    @property
    def is_waiting(self) -> bool:
        """Whether its answer is not finished."""
        return "stop" in self.buttons

    @property
    def is_unsent(self) -> bool:
        """Whether the page says that the question was not sent."""
        return "resend" in self.buttons


class WebTab:
    """An open tab. `address` returns the server's address, which can change with each start.

    `ping_s`: after how long without an answer the connection is given up; None: never.
    """

    def __init__(
        self, address: Callable[[], str], *, ping_s: float | None = PING_S, **query: str
    ) -> None:
        self._ping_s = ping_s
        self._address = address
        self.query = dict(query)
        self._session = ""
        self._socket: Any = None
        self.nodes: dict[Path, Node] = {}
        self.run = ""
        self.runs_finished = 0
        self.connections = 0
        self.is_finished = False
        """Whether the newest run of the script has ended."""
        self.updates = 0
        """How many elements were drawn."""
        self.on_text: Callable[[str], None] = lambda _: None
        """Called with each text that the page shows."""
        self._changed = asyncio.Condition()
        self._tasks: list[asyncio.Task[None]] = []
        self._pulse: tuple[float, str] | None = None

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._stay_connected()),
                       asyncio.create_task(self._rerun_by_itself())]  # fmt: skip
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- what a person does ---------------------------------------------------------------------

    async def go(self, **query: str) -> None:
        """Opens another address of the page in this tab."""
        self.query = dict(query)
        await self._rerun()

    async def say(self, text: str) -> bool:
        """Sends a question; returns whether the connection took it."""
        (box,) = [node for node in self.nodes.values() if node.kind == "chat_input"]

        def fill(message: BackMsg) -> None:
            widget = message.rerun_script.widget_states.widgets.add(id=box.proto.chat_input.id)
            widget.chat_input_value.data = text

        return await self._rerun(fill)

    async def press(self, key: str) -> bool:
        """Presses a button by the key that the page gives it; False if there is none."""
        for node in list(self.nodes.values()):
            if node.kind == "button" and _key_of(node) == key:

                def fill(message: BackMsg, pressed: str = node.proto.button.id) -> None:
                    message.rerun_script.widget_states.widgets.add(id=pressed, trigger_value=True)

                return await self._rerun(fill)
        return False

    # --- what a person sees ---------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        return self._socket is not None

    @property
    def can_ask(self) -> bool:
        """Whether the newest run has drawn the input for questions."""
        return self.is_connected and any(
            node.kind == "chat_input" and node.run == self.run for node in self.nodes.values()
        )

    def text(self) -> str:
        """All text of the page."""
        return "\n".join(node.text for _, node in sorted(self.nodes.items(), key=_place))

    def turns(self) -> list[ShownTurn]:
        """The conversation as the newest run has drawn it so far."""
        found: list[ShownTurn] = []
        place: Path = ()
        part = ""
        for path, node in sorted(self.nodes.items(), key=_place):
            if path[0] != MAIN or node.run != self.run:
                continue
            key = _key_of(node)
            if key.startswith("asked-"):
                found.append(ShownTurn(key.removeprefix("asked-")))
            elif node.kind == "chat_message":
                place, part = path, node.proto.chat_message.name
            elif found and node.kind == "button":
                found[-1].buttons.add(key.removesuffix(f"-{found[-1].id}"))
            elif found and part == "user" and node.kind == "text":
                found[-1].question = node.text
            elif found and part == "assistant" and path == (*place, 0):
                found[-1].answer = node.text
        return found

    async def until(self, condition: Callable[[], Any], *, within_s: float) -> bool:
        """Waits until a condition of the page holds; returns whether it does."""
        async with self._changed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait_for(condition), within_s)
        return bool(condition())

    # --- the protocol ---------------------------------------------------------------------------

    async def _stay_connected(self) -> None:
        while True:
            try:
                address = self._address().replace("http://", "ws://")
                session = [self._session] if self._session else []
                protocols: Any = ["streamlit", NO_TOKEN, *session]
                async with websockets.connect(
                    f"{address}/_stcore/stream", subprotocols=protocols,
                    open_timeout=OPEN_S, ping_interval=self._ping_s, ping_timeout=self._ping_s,
                    max_size=None, compression=None, proxy=None, close_timeout=1.0,
                ) as self._socket:  # fmt: skip
                    self.connections += 1
                    await self._rerun()
                    async for data in self._socket:
                        await self._receive(ForwardMsg.FromString(data))
            except (OSError, TimeoutError, websockets.WebSocketException):
                pass
            finally:
                self._socket = None
            await self._note()
            await asyncio.sleep(RECONNECT_S)

    async def _rerun(
        self, fill: Callable[[BackMsg], None] | None = None, fragment: str = ""
    ) -> bool:
        message = BackMsg()
        client = message.rerun_script
        client.query_string = urlencode(self.query)
        client.fragment_id, client.is_auto_rerun = fragment, bool(fragment)
        if fill:
            fill(message)
        if self._socket is None:
            return False
        try:
            await self._socket.send(message.SerializeToString())
        except (OSError, websockets.WebSocketException):
            return False
        return True

    async def _rerun_by_itself(self) -> None:
        """Runs the page's own timer, which shows what other tabs did."""
        while True:
            pulse = self._pulse
            await asyncio.sleep(pulse[0] if pulse else 1.0)
            if pulse is not None and pulse == self._pulse and self.is_finished:
                await self._rerun(fragment=pulse[1])

    async def _receive(self, message: ForwardMsg) -> None:
        run = message.metadata.run
        match message.WhichOneof("type"):
            case "new_session":
                if message.new_session.initialize.session_id:
                    self._session = message.new_session.initialize.session_id
                if not run.fragment_ids:
                    self.run, self.is_finished, self._pulse = run.script_run_id, False, None
            case "delta":
                self._draw(tuple(message.metadata.delta_path), message.delta)
            case "page_info_changed":
                query = parse_qs(message.page_info_changed.query_string)
                self.query = {name: values[-1] for name, values in query.items()}
            case "auto_rerun":
                self._pulse = message.auto_rerun.interval, message.auto_rerun.fragment_id
            case "script_finished" if not run.fragment_ids:
                if message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY:
                    self.nodes = {p: n for p, n in self.nodes.items() if n.run == self.run}
                    self.is_finished = True
                    self.runs_finished += 1
        await self._note()

    def _draw(self, path: Path, delta: Any) -> None:
        is_block = delta.WhichOneof("type") == "add_block"
        before = self.nodes.get(path)
        if not is_block or before is None or not before.is_block:
            for below in [other for other in self.nodes if other[: len(path)] == path]:
                del self.nodes[below]
        node = Node(self.run, delta.add_block if is_block else delta.new_element, is_block)
        self.nodes[path] = node
        self.updates += 1
        if node.text:
            self.on_text(node.text)

    async def _note(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _place(item: tuple[Path, Node]) -> Path:
    return item[0]


def _key_of(node: Node) -> str:
    """The key that the page gave to a widget or container, from `$$ID-<hash>-<key>`."""
    widget = node.proto if node.is_block else getattr(node.proto, node.kind, None)
    id_ = str(getattr(widget, "id", ""))
    return id_.split("-", 2)[2] if id_.startswith("$$ID-") else ""
