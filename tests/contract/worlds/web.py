"""The test world of the web page: what its scripts do and read, with the real server."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any, Self

from bots.web import events
from bots.web.platform import Web
from bots.web.server import Server
from bots.web.settings import WebSettings
from bots.web.turns import Finished, Upload
from shared import user_names
from shared.messages import AnyEvent, Ask
from shared.own_history import NotNow
from shared.tasks import end

HEARD_WITHIN_S = 10.0


class WebWorld:
    """The page of some people, each in one conversation."""

    def __init__(self) -> None:
        self.heard: list[AnyEvent] = []

    async def __aenter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()
        settings = WebSettings(port=0)
        self._asked: dict[str, Ask] = {}
        self.platform = Web(
            settings,
            self._publish,
            server=Server(settings, Path(self._folder.name)),
            store_files=self._no_files,
            fetch_turns=self._no_turns,
        )
        self._listening = asyncio.create_task(self.platform.listen())
        await self.platform.listening.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.platform.close()
        await end(self._listening)
        self._folder.cleanup()

    async def _publish(self, event: AnyEvent) -> bool:
        self.heard.append(event)
        return True

    async def _no_files(self, ask: Ask, uploads: tuple[Upload, ...]) -> Ask:
        raise AssertionError(f"{ask.id} has {len(uploads)} files")

    async def _no_turns(self, user: str) -> dict[str, Any]:
        raise NotNow(f"nobody recorded {user}")

    async def say(self, text: str, *, author: str = "ada") -> str:
        """Calls from a thread, as scripts do."""
        asked = events.event(Ask, user_names.user_of("web", author), "c1", text=text)
        self._asked[asked.id] = asked
        await self._send(asked)
        return asked.id

    async def deliver_again(self, message_id: str) -> None:
        """The person sends it again."""
        await self._send(self._asked[message_id])

    async def _send(self, asked: Ask) -> None:
        before = len(self.heard)
        await asyncio.to_thread(self.platform.ask, events.turn_of(asked), asked)
        async with asyncio.timeout(HEARD_WITHIN_S):
            while len(self.heard) == before:
                await asyncio.sleep(0.01)

    async def replies_to(self, message_id: str) -> list[str]:
        """The paragraphs of the answer: this platform never splits one."""
        turn = self.platform.person(self._asked[message_id].user).turn(message_id)
        if turn is None or not isinstance(turn.answer, Finished):
            return []
        return turn.answer.text.split("\n\n")

    async def end(self) -> None:
        await end(self._listening)

    async def refuse_everything(self) -> None:
        raise NotImplementedError

    async def limit_once(self, seconds: float) -> None:
        raise NotImplementedError

    def can(self, ability: str) -> bool:
        return ability == "redelivery"
