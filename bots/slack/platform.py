"""Slack behind the port: listens, posts answers, and reports its health.

It keeps no state about questions: a reply carries its return address, and Slack itself knows what
is posted. It must never keep another platform waiting.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from slack_sdk.errors import SlackApiError

from bots.platform import Later, Part, Publish
from bots.slack.answer_blocks import SHAPE
from bots.slack.api import client_of, new_session
from bots.slack.bolt_app import ignore_other_events, make_app
from bots.slack.commands import Commands
from bots.slack.context import Context
from bots.slack.deliveries import Deliveries
from bots.slack.directory import Directory
from bots.slack.errors import CALL_ERRORS, RETRY_S
from bots.slack.freezes import Freezes
from bots.slack.http_events import HttpEvents
from bots.slack.ids import PLATFORM
from bots.slack.interactions import Interactions
from bots.slack.messages import Messages
from bots.slack.posting import Posting
from bots.slack.settings import SlackSettings
from bots.slack.socket_mode import SocketMode, WatchdogLimits
from bots.slack.working import Working
from bots.slack.workspaces import Workspaces
from bots.split_text import Length
from shared.blobs import put_blob
from shared.budgets import NO_BUDGETS, Budgets
from shared.bus import Bus
from shared.messages import Address
from shared.own_history import own_history
from shared.receipts import Receipts
from shared.replies import Partial, Reply
from shared.tasks import end

if TYPE_CHECKING:
    from bots.slack.installations import InstallationStore

T = TypeVar("T")

ANSWERS_WITHIN_S: Final = 3.0
SETTLE_S: Final = 3.0
"""At a stop, events under way are stored within this; `run_adapter` waits longer."""


class Slack:
    """The port's Slack; needs a running loop."""

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
        budgets: Budgets = NO_BUDGETS,
        receipts: Receipts | None = None,
        watchdog: WatchdogLimits | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.listening = asyncio.Event()
        self.where = "Slack"
        self._settings = settings
        self._watchdog = watchdog or WatchdogLimits()
        self._now = now
        self._session = new_session()
        self._installations = _installations(installations_url, settings)
        self._workspaces = Workspaces(
            settings.api_url, self._session, now,
            token=settings.bot_token.get_secret_value() if settings.bot_token else None,
            installations=self._installations,
        )  # fmt: skip

        async def store_file(user: str, name: str, data: bytes) -> None:
            await put_blob(bus, name, data, user=user)

        async def fetch_history(user: str) -> bytes:
            return await own_history(bus, user)

        self._working = Working(now)
        self._context = Context(
            settings, self._workspaces, Directory(now), self._working, publish, bus.is_stored,
            store_file, fetch_history, self._session, urlsplit(settings.api_url).netloc, now,
            budgets.roles_on("slack"), receipts,
        )  # fmt: skip
        self._posting = Posting(self._context, now)
        self._socket_mode: SocketMode | None = None
        self._http: HttpEvents | None = None
        self._closed = asyncio.Event()
        self._calls: set[asyncio.Task[Any]] = set()

    async def listen(self) -> None:
        """Turns what people do into events until the platform is closed.

        Raises:
            Misconfigured: Slack refuses a token.
        """
        try:
            await self._listen()
        finally:
            if self._calls:
                await asyncio.wait(self._calls, timeout=SETTLE_S)
            await self._session.close()

    async def _listen(self) -> None:
        settings, context = self._settings, self._context
        oauth = None
        who = ""
        if self._installations is None:
            who = f" as {(await self._workspaces.first()).bot_user}"
        else:
            await self._installations.create()
            oauth = self._installations.oauth_settings(settings)
        app = make_app(client_of(None, settings.api_url, self._session), context, oauth)
        Messages(context).register(app)
        Commands(context).register(app)
        Interactions(context).register(app)
        ignore_other_events(app)
        freezes = Freezes()
        deliveries = Deliveries(app, self._session, freezes)
        # From before the first delivery on: one connection may receive long before the next one.
        watching = [asyncio.create_task(freezes.watch())]
        closing = asyncio.create_task(self._closed.wait())
        try:
            if settings.over_http and settings.signing_secret is not None:
                self._http = HttpEvents(app, deliveries, settings.signing_secret.get_secret_value())
                self.where = await self._http.start(settings.host, settings.port) + who
            elif settings.app_token is not None:
                token = settings.app_token.get_secret_value()
                self._socket_mode = SocketMode(app, deliveries, token, self._now, self._watchdog)
                await self._socket_mode.open()
                self.where = f"Slack, {self._socket_mode.connected()} connections{who}"
                watching.append(asyncio.create_task(self._socket_mode.watch()))
            self.listening.set()
            done, _ = await asyncio.wait({closing, *watching}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await end(closing, *watching)
            if self._http is not None:
                await self._http.close()
            await asyncio.gather(deliveries.settled(SETTLE_S), context.notices.settled(SETTLE_S))
            await context.own_history.close()
            if self._socket_mode is not None:
                await self._socket_mode.close()

    def health(self) -> tuple[bool, str]:
        """Whether Slack's events arrive, and if not, the reason."""
        if not self.listening.is_set():
            return False, "not connected to Slack yet"
        if self._socket_mode is not None and not self._socket_mode.connected():
            return False, "no connection to Slack"
        if self._http is not None and not self._http.open:
            return False, "the server for Slack's events is closed"
        return True, "ok"

    async def close(self) -> None:
        """Stops listening; `listen` returns once the events under way are stored."""
        self._closed.set()

    async def reaches(self) -> bool:
        """Whether Slack answers this process now."""
        client = client_of(None, self._settings.api_url, self._session)
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                await client.api_test()
        except SlackApiError:
            return True  # a refusal is an answer, too
        except CALL_ERRORS:
            return False
        return True

    def pause(self) -> None:
        """Takes no more events: Slack sends them to other processes."""
        for events in (self._socket_mode, self._http):
            if events is not None:
                events.paused = True

    def resume(self) -> None:
        """Takes events again."""
        for events in (self._socket_mode, self._http):
            if events is not None:
                events.paused = False

    def asked_elsewhere(self, address: Address) -> None:
        """Another process has stored a question: its asker's follow-ups are for the bot."""
        self._context.directory.add_asker_of(address)

    def answered_elsewhere(self, prompt_id: str) -> None:
        """Another process shows the answer, and clears the status line."""
        self._working.answered_elsewhere(prompt_id)

    def prepared(self, text: str) -> str:
        """The text as Slack can show it."""
        return SHAPE.prepared(text)

    async def post(self, part: Part) -> str:
        """Posts one part.

        Raises:
            PostError: what the relay does next.
        """
        return await self._while_open(self._posting.post(part))

    async def find_posted(self, part: Part) -> str | None:
        """The receipt of a posted part; None if it is not there.

        Raises:
            Later: Slack cannot be asked now.
        """
        return await self._while_open(self._posting.find_posted(part))

    async def show_partial(self, partial: Partial) -> None:
        """Shows a growing answer. Best effort."""
        if not self._closed.is_set():
            with suppress(Later):
                await self._while_open(self._posting.show_partial(partial))

    async def withdraw(self, reply: Reply) -> None:
        """Removes what is shown of an answer. Best effort."""
        with suppress(Later):
            await self._while_open(self._posting.withdraw(reply))

    async def _while_open(self, call: Coroutine[Any, Any, T]) -> T:
        """Makes a call; `listen` waits for it before it closes the connections to Slack.

        Raises:
            Later: the connections are closed.
        """
        if self._session.closed:
            call.close()
            raise Later("the adapter is closed", RETRY_S)
        task = asyncio.create_task(call)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        try:
            return await task
        except RuntimeError as error:  # aiohttp raises it for a request of a closed session
            if not self._session.closed:
                raise
            raise Later("the adapter is closed", RETRY_S) from error


def _installations(url: str, settings: SlackSettings) -> "InstallationStore | None":
    if not settings.with_oauth:
        return None
    # Only here: SQLAlchemy takes 17 MB, and an app of one workspace does not need it.
    from bots.slack.installations import InstallationStore  # noqa: PLC0415

    return InstallationStore(url, settings.client_id or "")
