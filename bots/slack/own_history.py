"""The command /export: a person's own data as a file in their direct messages.

It must never show the file anywhere else, nor fetch it for anybody but the person who asked.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import aiohttp

from bots.slack.errors import CALL_ERRORS, code_of, reason_of
from bots.slack.ids import fingerprint
from bots.slack.notices import Notices
from bots.slack.origin import Origin
from bots.slack.payloads import mapping, text
from bots.slack.send_once import send_once
from bots.slack.wording import EXPORT_FAILED, EXPORT_NOTHING, EXPORT_SCOPE, EXPORTED
from shared.log import logger
from shared.own_history import NotNow, file_name
from shared.receipts import Receipts
from shared.tasks import end

FetchHistory = Callable[[str], Awaitable[bytes]]
"""What is recorded of a user, as Markdown; raises `NotNow`."""

CONCURRENT: Final = 4
"""Files that are sent at a time; each takes up to 8 MiB."""


class OwnHistory:
    """Sends the files of one process.

    A person who asks again meanwhile gets one file only, even from another process.
    """

    def __init__(
        self,
        fetch: FetchHistory,
        session: aiohttp.ClientSession,
        notices: Notices,
        receipts: Receipts | None = None,
    ) -> None:
        """`receipts`: where processes claim what they send; None if there is one only."""
        self._receipts = receipts
        self._fetch = fetch
        self._session = session
        self._notices = notices
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(CONCURRENT)

    def begin(self, origin: Origin) -> None:
        """Begins to send a person their file. Returns at once."""
        user = origin.bus_user
        if user in self._sending:
            return
        key = f"export.{fingerprint(user)}"
        send = partial(self._send, origin)
        task = asyncio.create_task(send_once(self._receipts, key, send, surely=True, repeats=True))
        self._sending[user] = task
        task.add_done_callback(lambda _: self._sending.pop(user, None))

    async def close(self) -> None:
        """Ends what is in progress: the person can ask again."""
        await end(*self._sending.values())

    async def _send(self, origin: Origin) -> None:
        now = datetime.now(UTC)
        try:
            async with self._slots:
                data = await self._fetch(origin.bus_user)
                if data:
                    await self._upload(origin, data, file_name(now))
        except (NotNow, *CALL_ERRORS) as error:
            logger().warning("a history was not sent", user=origin.bus_user, why=reason_of(error))
            words = EXPORT_SCOPE if code_of(error) == "missing_scope" else EXPORT_FAILED
        else:
            if data:
                return
            words = EXPORT_NOTHING
        await self._notices.send(origin, words, about=now.isoformat(), surely=True)

    async def _upload(self, origin: Origin, data: bytes, name: str) -> None:
        """Uploads the file, and shares it with the person only.

        https://docs.slack.dev/messaging/working-with-files

        Raises:
            NotNow, CALL_ERRORS: Slack has not taken it.
        """
        client = origin.workspace.client
        opened: Any = await client.conversations_open(users=origin.user)
        direct = text(mapping(opened.data, "channel"), "id")
        place: Any = await client.files_getUploadURLExternal(filename=name, length=len(data))
        async with self._session.post(text(place.data, "upload_url"), data=data) as response:
            if response.status != HTTPStatus.OK:
                raise NotNow(f"Slack refused the file: {response.status}")
        file: dict[str, str | None] = {"id": text(place.data, "file_id"), "title": name}
        await client.files_completeUploadExternal(
            files=[file], channel_id=direct, initial_comment=EXPORTED
        )
