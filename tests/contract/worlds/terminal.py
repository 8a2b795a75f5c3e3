"""The test world of the terminal: a chat whose lines a test types and whose screen it reads."""

import asyncio
from typing import Self

from bots.terminal.messages import Lines
from bots.terminal.platform import Terminal
from bots.terminal.screen import Screen
from shared.messages import AnyEvent
from shared.tasks import end

HEARD_WITHIN_S = 10.0


class TypedLines(Lines):
    """Lines that a test types, instead of standard input."""

    def __init__(self) -> None:
        self._typed: asyncio.Queue[str | None] = asyncio.Queue()

    async def next(self) -> str | None:
        return await self._typed.get()

    def type(self, line: str) -> None:
        self._typed.put_nowait(line)

    def clear(self) -> bool:
        return False

    def close(self) -> None:
        self._typed.put_nowait(None)


class SeenScreen(Screen):
    """Collects the answers below the question that was asked last."""

    def __init__(self) -> None:
        self.asked = ""
        self.answers: dict[str, list[str]] = {}

    def answer(self, text: str) -> None:
        self.answers.setdefault(self.asked, []).append(text)

    def late_answer(self, question: str, text: str) -> None:
        del question
        self.answer(text)


class TerminalWorld:
    """The chat of one person."""

    def __init__(self) -> None:
        self.heard: list[AnyEvent] = []

    async def __aenter__(self) -> Self:
        self._changed = asyncio.Event()
        self._lines = TypedLines()
        self._screen = SeenScreen()
        self.platform = Terminal(
            fetch_history=self._no_history,
            publish=self._publish,
            user="terminal:ada", session="s1", lines=self._lines, screen=self._screen,
            interactive=True,
        )  # fmt: skip
        self._listening = asyncio.create_task(self.platform.listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.platform.close()
        await end(self._listening)

    async def _no_history(self, user: str) -> bytes:
        raise AssertionError(f"nobody asked for the history of {user}")

    async def _publish(self, event: AnyEvent) -> bool:
        self._screen.asked = event.id
        self.heard.append(event)
        self._changed.set()
        return True

    async def say(self, text: str, *, author: str = "ada") -> str:
        assert author == "ada", "a terminal has one person"
        before = len(self.heard)
        self._lines.type(text)
        async with asyncio.timeout(HEARD_WITHIN_S):
            while len(self.heard) == before:
                self._changed.clear()
                await self._changed.wait()
        return self.heard[-1].id

    async def deliver_again(self, message_id: str) -> None:
        raise NotImplementedError

    async def replies_to(self, message_id: str) -> list[str]:
        return self._screen.answers.get(message_id, [])

    async def end(self) -> None:
        await end(self._listening)

    async def refuse_everything(self) -> None:
        raise NotImplementedError

    async def limit_once(self, seconds: float) -> None:
        raise NotImplementedError

    def can(self, ability: str) -> bool:
        del ability
        return False
