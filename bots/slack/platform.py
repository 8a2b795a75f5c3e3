"""Slack as a chat platform: listens, shows answers, and says how it is.

Keeps nothing about questions: a reply carries its return address, and Slack is asked what stands
there. It must never be the reason why another platform waits.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from bots.platform import Later, Part, Publish
from bots.slack.answer_blocks import SHAPE
from bots.slack.api import AGAIN_S, client_of, new_session
from bots.slack.bolt_app import make_app
from bots.slack.context import Desk
from bots.slack.deliveries import Arrivals
from bots.slack.directory import Lookup
from bots.slack.events import PLATFORM
from bots.slack.http_events import Http
from bots.slack.installations import Store, oauth_settings
from bots.slack.interactions import Gestures
from bots.slack.messages import Questions
from bots.slack.posting import Posting
from bots.slack.settings import SlackSettings
from bots.slack.socket_mode import Lines, Patience
from bots.slack.working import Status
from bots.slack.workspaces import Teams
from bots.split_text import Length
from shared.blobs import put_blob
from shared.bus import Bus
from shared.messages import Partial, Reply
from shared.tasks import end

LAST_WORDS_S: Final = 3.0
"""What came before a stop is stored and posted within this; `run_adapter` waits longer."""


class Slack:
    """The port's Slack; make it where a loop runs."""

    name: str = PLATFORM
    text_limit_chars: int = SHAPE.text_limit_chars
    parts_limit: int = SHAPE.parts_limit
    text_length: Length = staticmethod(SHAPE.text_length)

    def __init__(
        self,
        bus: Bus,
        publish: Publish,
        settings: SlackSettings,
        *,
        installations_url: str = "",
        patience: Patience | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.listening = asyncio.Event()
        self.where = "Slack"
        self._settings = settings
        self._patience = patience or Patience()
        self._now = now
        self._session = new_session()
        self._store = (
            Store(installations_url, settings.client_id or "") if settings.with_oauth else None
        )
        self._teams = Teams(
            settings.api_url, self._session, now,
            token=settings.bot_token.get_secret_value() if settings.bot_token else None,
            installations=self._store,
        )  # fmt: skip

        async def store(user: str, name: str, data: bytes) -> None:
            await put_blob(bus, name, data, user=user)

        self._desk = Desk(
            settings, self._teams, Lookup(now), Status(now), publish, store, self._session,
            urlsplit(settings.api_url).netloc, now,
        )  # fmt: skip
        self._posting = Posting(self._desk, now)
        self._lines: Lines | None = None
        self._http: Http | None = None
        self._closed = asyncio.Event()
        self._posts: set[asyncio.Task[str]] = set()

    async def listen(self) -> None:
        """Turns what people do into events until it is closed.

        Raises:
            Misconfigured: Slack refuses a token.
        """
        try:
            await self._listen(self._desk)
        finally:
            if self._posts:
                await asyncio.wait(self._posts, timeout=LAST_WORDS_S)
            await self._session.close()

    async def _listen(self, desk: Desk) -> None:
        settings = self._settings
        oauth = None
        who = ""
        if self._store is None:
            who = f" as {(await self._teams.first()).bot_user}"
        else:
            await self._store.create()
            oauth = oauth_settings(settings, self._store)
        questions = Questions(desk)
        client = client_of(None, settings.api_url, self._session)
        app = make_app(client, desk, questions, Gestures(desk), oauth)
        arrivals = Arrivals(app)
        watching: list[asyncio.Task[None]] = []
        if settings.over_http and settings.signing_secret is not None:
            self._http = Http(app, arrivals, settings.signing_secret.get_secret_value())
            self.where = await self._http.start(settings.host, settings.port) + who
        elif settings.app_token is not None:
            token = settings.app_token.get_secret_value()
            self._lines = Lines(app, arrivals, token, self._now, self._patience)
            await self._lines.open()
            self.where = f"Slack, {self._lines.connected()} connections{who}"
            watching.append(asyncio.create_task(self._lines.watch()))
        self.listening.set()
        closing = asyncio.create_task(self._closed.wait())
        try:
            done, _ = await asyncio.wait({closing, *watching}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await end(closing, *watching)
            if self._http is not None:
                await self._http.close()
            await asyncio.gather(arrivals.settled(LAST_WORDS_S), desk.notices.settled(LAST_WORDS_S))
            if self._lines is not None:
                await self._lines.close()

    def health(self) -> tuple[bool, str]:
        """Whether it hears people now."""
        if not self.listening.is_set():
            return False, "not connected to Slack yet"
        if self._lines is not None and not self._lines.connected():
            return False, "no connection to Slack"
        if self._http is not None and not self._http.open:
            return False, "the server for Slack's events is closed"
        return True, "ok"

    async def close(self) -> None:
        """Hears nothing any more; `listen` returns when what came is stored."""
        self._closed.set()

    def prepared(self, text: str) -> str:
        """The text as Slack can show it."""
        return SHAPE.prepared(text)

    async def post(self, part: Part) -> str:
        """Shows one part.

        Raises:
            PostError: what the relay does next.
        """
        posting = asyncio.create_task(self._of_posting().post(part))
        self._posts.add(posting)
        posting.add_done_callback(self._posts.discard)
        return await posting

    async def find_posted(self, part: Part) -> str | None:
        """The receipt of a part that stands there.

        Raises:
            Later: Slack does not say now.
        """
        return await self._of_posting().find_posted(part)

    async def show_partial(self, partial: Partial) -> None:
        """Shows an answer while it grows."""
        if not self._closed.is_set():
            await self._of_posting().show_partial(partial)

    async def withdraw(self, reply: Reply) -> None:
        """Takes away what was shown of an answer."""
        await self._of_posting().withdraw(reply)

    def _of_posting(self) -> Posting:
        if self._session.closed:
            raise Later("the adapter is closing", AGAIN_S)
        return self._posting
