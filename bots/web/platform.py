"""The web page as a chat platform: showing an answer is a write into memory.

Runs in the event loop; scripts of pages run in threads and call only what says so. It must never
lose a question: what NATS did not take stays on the page, and can be sent again under its id.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from bots.platform import Part, Publish
from bots.split_text import Length
from bots.web.drawing import Drawing
from bots.web.history import turns_in
from bots.web.person import Person
from bots.web.server import Server
from bots.web.settings import WebSettings
from bots.web.turns import SENDING, Asking, Finished, Growing, Turn, Unsent, Upload, finished_by
from shared.bus import OverQuota, TooLarge
from shared.connection import Unavailable
from shared.log import logger
from shared.messages import AnyEvent, Ask
from shared.own_history import NotNow
from shared.recent import RecentMap
from shared.replies import Partial, Reply

PEOPLE_LIMIT: Final = 2_000
"""How many people's turns are kept in memory; who comes back is read from the database again."""

REFUSED: Final = (Unavailable, TooLarge, OverQuota)

READ_AGAIN_S: Final = 3.0
"""How long a page shows no earlier conversations before the recorder is asked again."""

CATCHING_UP_S: Final = 60.0
"""For this long after the start, the recorder may have started with this process, and not have read
yet what was answered before: what it returns is read again and again."""

NEWS: Final = timedelta(minutes=10)
"""An older reply is not kept for somebody without an open page: the database has it by then."""

StoreFiles = Callable[[Ask, tuple[Upload, ...]], Awaitable[Ask]]
"""Stores the files of a question; returns the question with what refers to them."""


class Web:
    """One process serves all people: their browsers must not be spread over several."""

    name: str = "web"
    parts_limit: int = 1
    text_limit_chars: int = 10_000_000
    """No limit: an answer is always one part."""
    text_length: Length = staticmethod(len)

    def __init__(
        self,
        settings: WebSettings,
        publish: Publish,
        *,
        server: Server,
        store_files: StoreFiles,
        fetch_turns: Callable[[str], Awaitable[dict[str, Any]]],
    ) -> None:
        """`fetch_turns` returns what is recorded of a user, or raises `NotNow`."""
        self.settings = settings
        self._publish = publish
        self._server = server
        self._store_files = store_files
        self._fetch_turns = fetch_turns
        self._loop = asyncio.get_running_loop()
        self._caught_up_at = self._loop.time() + CATCHING_UP_S
        self._people: RecentMap[str, Person] = RecentMap(PEOPLE_LIMIT)
        self._tasks: set[asyncio.Task[None]] = set()
        self.where = server.address
        self.listening = asyncio.Event()
        self.drawing = Drawing()

    def person(self, user: str) -> Person:
        """What is known of a user."""
        person = self._people.get(user) or Person()
        self._people[user] = person
        return person

    # --- called by scripts, in threads ---------------------------------------------------------

    def opened(self, user: str) -> "Future[Person]":
        """The person, with earlier conversations if they can be read now."""
        return asyncio.run_coroutine_threadsafe(self._opened(user), self._loop)

    def ask(self, turn: Turn, event: Asking, uploads: tuple[Upload, ...] = ()) -> None:
        """Shows a question, stores its files, and publishes it."""
        self._loop.call_soon_threadsafe(self._start, self._ask(turn, event, uploads))

    def send(self, event: AnyEvent) -> "Future[str]":
        """Publishes what is no question; the result says why it was not, and is empty if it was."""
        return asyncio.run_coroutine_threadsafe(self._sent(event), self._loop)

    def call(self, work: Awaitable[Any]) -> "Future[Any]":
        """Runs anything else in the loop."""

        async def run() -> Any:
            return await work

        return asyncio.run_coroutine_threadsafe(run(), self._loop)

    # --- in the loop ---------------------------------------------------------------------------

    async def _opened(self, user: str) -> Person:
        person = self.person(user)
        if person.is_outdated and self._loop.time() >= person.read_again_at:
            person.read_again_at = self._loop.time() + READ_AGAIN_S
            await self._read(user, person)
        return person

    async def _read(self, user: str, person: Person) -> None:
        try:
            recorded = await self._fetch_turns(user)
        except NotNow as error:
            logger().warning("earlier conversations cannot be read", why=str(error))
        else:
            turns = turns_in(recorded.get("entries") or [], datetime.now(UTC))
            person.load(turns, recorded.get("titles") or {}, recorded.get("shares") or {})
            person.is_outdated = self._loop.time() < self._caught_up_at

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, turn: Turn, event: Asking, uploads: tuple[Upload, ...]) -> None:
        person = self.person(event.user)
        known = person.turn(turn.id)
        if known is not None and isinstance(known.answer, Finished):
            return  # sent again, but NATS had stored it the first time
        # Before it is stored, so that no word is lost if it cannot be.
        person.put(replace(turn, answer=Growing(status=SENDING)))
        try:
            asked = event
            if uploads and isinstance(event, Ask):
                asked = await self._store_files(event, uploads)
            await self._publish(asked)
            self._show_stored(turn, person)
        except REFUSED as error:
            self._show_unsent(turn, Unsent(f"Not sent: {error}.", event, uploads))
        except Exception:  # noqa: BLE001  (the person must not wait for an answer)
            logger().exception("a question was not sent", id=event.id)
            self._show_unsent(turn, Unsent("Not sent: something failed here.", event, uploads))

    def _show_stored(self, turn: Turn, person: Person) -> None:
        known = person.turn(turn.id)
        if known is not None and known.answer == Growing(status=SENDING):
            person.put(replace(known, answer=Growing()))

    def _show_unsent(self, turn: Turn, unsent: Unsent) -> None:
        person = self.person(unsent.event.user)
        known = person.turn(turn.id)
        # NATS may have stored it all the same, and its answer may be here already.
        if known is None or isinstance(known.answer, Growing):
            person.put(replace(turn, answer=unsent))

    async def _sent(self, event: AnyEvent) -> str:
        try:
            await self._publish(event)
        except REFUSED as error:
            return f"Not done: {error}."
        return ""

    async def listen(self) -> None:
        """Serves pages until it is closed."""
        await self._server.serve(self.listening.set)

    def health(self) -> tuple[bool, str]:
        """Whether pages are served now; if not, the reason in plain words."""
        return (True, "ok") if self._server.started else (False, "the page is not served")

    async def post(self, part: Part) -> str:
        """Shows a reply; the receipt is its prompt id."""
        reply = part.reply
        person = self._people.get(reply.user)
        if person is None:
            if datetime.now(UTC) - reply.answered_at > NEWS:
                return reply.prompt_id
            person = self.person(reply.user)
        if reply.outcome == "withdrawn":
            person.drop([reply.prompt_id])
        elif reply.erased is not None:
            person.forget()
        else:
            known = person.turn(reply.prompt_id)
            person.put(finished_by(reply, known))
            if known is None:
                person.outdate()  # the database has its files, and which turn it replaces
        return reply.prompt_id

    async def find_posted(self, part: Part) -> str | None:
        """Always None: posting again replaces the same turn."""
        del part
        return None

    async def show_partial(self, partial: Partial) -> None:
        """Shows an answer while it grows, to people whose question is known here."""
        person = self._people.get(partial.user)
        if person is None:
            return
        turn = person.turn(partial.prompt_id)
        if turn is None:
            # Asked before this process started; when that was read, it was not recorded yet.
            person.outdate()
        elif isinstance(turn.answer, Growing):
            person.put(replace(turn, answer=turn.answer.after(partial)))

    async def withdraw(self, reply: Reply) -> None:
        """Removes an answer whose question was deleted."""
        if (person := self._people.get(reply.user)) is not None:
            person.drop([reply.prompt_id])

    async def close(self) -> None:
        """Serves no more pages; questions that are being published still are."""
        self._server.stop()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))
