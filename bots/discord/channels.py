"""What the adapter does in Discord's channels: one method a request, and where an answer belongs.

It must never open a second thread on a message, nor ping anybody.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import discord
from discord.http import HTTPClient, Route

from bots.discord.refusals import THREAD_ARCHIVED, THREAD_EXISTS, UNKNOWN_MESSAGE
from shared.log import logger
from shared.messages import Address

Json = dict[str, Any]

THREADS_KEPT: Final = 4096
PAGES_READ: Final = 5
PAGE: Final = 100
ARCHIVE_AFTER_MIN: Final = 1440
_SUPPRESS_EMBEDS: Final = 1 << 2
_NO_THREAD: Final = frozenset({160006, 50013, 50024, UNKNOWN_MESSAGE, 30010, 30033})
"""Too many threads, no right to open one, no place for one, no message for one: answered inline."""


class Channels:
    """`http` gives the connected client's REST side, or raises Later; `me` the bot's id."""

    def __init__(self, http: Callable[[], HTTPClient], me: Callable[[], int]) -> None:
        self._http = http
        self._me = me
        self._threads: OrderedDict[int, int] = OrderedDict()

    async def place(self, address: Address) -> int:
        """The channel of an answer: its thread, opened now if it is to be."""
        channel = int(address["channel"])
        if address.get("open") != "1":
            return channel
        message = int(address["message"])
        if message in self._threads:
            return self._threads[message]
        body = {"name": address.get("title") or "…", "auto_archive_duration": ARCHIVE_AFTER_MIN}
        path = "/channels/{channel_id}/messages/{message_id}/threads"
        route = Route("POST", path, channel_id=channel, message_id=message)
        try:
            thread = int((await self._http().request(route, json=body))["id"])
        except discord.RateLimited:
            thread = channel  # it can take many minutes: the answer does not wait for a thread
        except discord.HTTPException as error:
            if error.code == THREAD_EXISTS:
                thread = message
            elif error.code in _NO_THREAD:
                logger().warning("no thread: answered in the channel", code=error.code)
                thread = channel
            else:
                raise
        self._threads[message] = thread
        while len(self._threads) > THREADS_KEPT:
            self._threads.popitem(last=False)
        return thread

    async def own_below(self, address: Address) -> list[Json]:
        """This bot's messages since the question, in order, wherever the answer could stand."""
        since = int(address["message"])
        channels = [int(address["channel"])]
        if address.get("open") == "1":
            channels.insert(0, since)  # a thread has the id of its message
        found: list[Json] = []
        for channel in channels:
            after = since - 1
            for _ in range(PAGES_READ):
                route = Route("GET", "/channels/{channel_id}/messages", channel_id=channel)
                query = {"after": str(after), "limit": str(PAGE)}
                try:
                    page = await self._http().request(route, params=query)
                except (discord.NotFound, discord.Forbidden):
                    break  # no such thread; `post` says what is wrong with the place itself
                page.sort(key=lambda message: int(message["id"]))
                found += [m for m in page if int(m["author"]["id"]) == self._me()]
                if len(page) < PAGE:
                    break
                after = int(page[-1]["id"])
        return found

    async def send(self, channel: int, body: Json) -> Json:
        """Posts a message; wakes its thread if that was archived."""
        route = Route("POST", "/channels/{channel_id}/messages", channel_id=channel)
        try:
            sent: Json = await self._http().request(route, json=body)
        except discord.HTTPException as error:
            if error.code != THREAD_ARCHIVED:
                raise
            opened = Route("PATCH", "/channels/{channel_id}", channel_id=channel)
            await self._http().request(opened, json={"archived": False})
            sent = await self._http().request(route, json=body)
        return sent

    async def edit(self, channel: int, message: int, body: Json) -> None:
        """Changes a message of this bot's."""
        path = "/channels/{channel_id}/messages/{message_id}"
        route = Route("PATCH", path, channel_id=channel, message_id=message)
        await self._http().request(route, json=edit_of(body))

    async def delete(self, channel: int, message: int) -> None:
        """Deletes a message of this bot's."""
        path = "/channels/{channel_id}/messages/{message_id}"
        route = Route("DELETE", path, channel_id=channel, message_id=message)
        await self._http().request(route)


def body_of(text: str, components: list[Json]) -> Json:
    """A message that pings nobody and unfolds no link."""
    return {
        "content": text,
        "components": components,
        "allowed_mentions": {"parse": []},
        "flags": _SUPPRESS_EMBEDS,
    }


def edit_of(body: Json) -> Json:
    """What of it an edit takes."""
    left = ("nonce", "enforce_nonce", "message_reference")
    return {key: value for key, value in body.items() if key not in left}
