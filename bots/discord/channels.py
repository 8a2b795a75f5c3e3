"""Requests about channels and messages, and where in Discord an answer belongs.

It must never open a second thread on a message, ping anybody, nor lose an answer because Discord
refuses an optional field of it.
"""

import hashlib
import time
from collections.abc import Callable
from typing import Final

import discord
from discord.http import HTTPClient, Route

from bots.discord.errors import (
    CANNOT_REPLY,
    CLOSED_TO_BOTS,
    FILTERED,
    INVALID_FORM,
    THREAD_ARCHIVED,
    THREAD_EXISTS,
    UNKNOWN_MESSAGE,
    post_error,
)
from bots.discord.optional_fields import REFERENCE, without_refused
from bots.discord.payloads import Json, author_of, id_of
from bots.platform import Forbidden, Later
from shared.log import logger
from shared.messages import Address
from shared.recent import RecentMap

THREADS_KEPT: Final = 4096
PAGES_READ: Final = 5
PAGE: Final = 100
ARCHIVE_AFTER_MIN: Final = 1440
NEUTRAL_TITLE: Final = "…"

LEFT_ALONE_S: Final = 300.0
"""A channel that refused something optional is not asked for it again within this time: Discord
bans a bot after 10,000 refusals in 10 minutes."""

_SUPPRESS_EMBEDS: Final = 1 << 2
_ABOUT_THE_TITLE: Final = FILTERED | {INVALID_FORM}


class RecentRefusals:
    """Channels that recently refused something."""

    def __init__(self) -> None:
        self._until: dict[int, float] = {}

    def add(self, channel: int) -> None:
        """The channel refused it just now."""
        now = time.monotonic()
        self._until = {where: until for where, until in self._until.items() if until > now}
        self._until[channel] = now + LEFT_ALONE_S

    def __contains__(self, channel: int) -> bool:
        return self._until.get(channel, 0.0) > time.monotonic()


class Channels:
    """`http` returns the connected client's REST side, or raises Later; `me` is the bot's id."""

    def __init__(self, http: Callable[[], HTTPClient], me: Callable[[], int]) -> None:
        self._http = http
        self._me = me
        self._threads: RecentMap[int, int] = RecentMap(THREADS_KEPT)
        self._no_previews = RecentRefusals()
        self._no_threads = RecentRefusals()
        self._no_references = RecentRefusals()

    async def channel_for(self, address: Address) -> int:
        """The channel in which an answer belongs; opens its thread if there should be one."""
        channel = int(address["channel"])
        if address.get("open") != "1":
            return channel
        message = int(address["message"])
        if message not in self._threads:
            self._threads[message] = await self._open_thread(
                channel, message, address.get("title", "")
            )
        return self._threads[message]

    def thread_is_gone(self, address: Address) -> None:
        """From now on the answer belongs in the channel, below its question."""
        self._threads[int(address["message"])] = int(address["channel"])

    async def _open_thread(self, channel: int, message: int, title: str) -> int:
        """Open a thread on the message; returns the channel itself if Discord refuses."""
        if channel in self._no_threads:
            return channel
        path = "/channels/{channel_id}/messages/{message_id}/threads"
        route = Route("POST", path, channel_id=channel, message_id=message)
        for name in (title or NEUTRAL_TITLE, NEUTRAL_TITLE):
            body = {"name": name, "auto_archive_duration": ARCHIVE_AFTER_MIN}
            try:
                return int((await self._http().request(route, json=body))["id"])
            except discord.RateLimited:
                return channel  # the limit can last many minutes: the answer does not wait for it
            except discord.HTTPException as error:
                if error.code == THREAD_EXISTS:
                    return message
                if isinstance(post_error(error), Later):
                    raise
                logger().warning("no thread", status=error.status, code=error.code)
                if error.code in _ABOUT_THE_TITLE and name != NEUTRAL_TITLE:
                    continue
                if error.code != UNKNOWN_MESSAGE:
                    self._no_threads.add(channel)
                return channel
        return channel

    # --- reading ------------------------------------------------------------------------------

    async def messages_since(self, address: Address) -> list[tuple[int, list[Json]]]:
        """The messages since the question, in order, from each channel where the answer may be.

        Includes those just before the question: they show who else may be waiting for an answer
        there.
        """
        since = int(address["message"])
        channel = int(address["channel"])
        found: list[tuple[int, list[Json]]] = []
        if address.get("open") == "1":  # a thread has the id of its message
            found.append((since, await self._since(since, since - 1)))
        before = await self._page(channel, {"before": str(since)})
        found.append((channel, before + await self._since(channel, since - 1)))
        return found

    async def direct_messages_since(self, user: int, address: Address) -> tuple[int, list[Json]]:
        """The same for the direct messages with a person; empty if there cannot be any."""
        try:
            channel = await self.direct_channel_of(user)
        except discord.HTTPException as error:
            if isinstance(post_error(error), Later):
                raise
            return 0, []
        return channel, await self._since(channel, int(address["message"]) - 1)

    async def own_messages_since(self, address: Address) -> list[Json]:
        """The bot's messages since the question, wherever the answer may be."""
        return [
            message
            for _, messages in await self.messages_since(address)
            for message in messages
            if author_of(message) == self._me() and id_of(message) > int(address["message"])
        ]

    async def _since(self, channel: int, after: int) -> list[Json]:
        found: list[Json] = []
        for _ in range(PAGES_READ):
            page = await self._page(channel, {"after": str(after)})
            found += page
            if len(page) < PAGE:
                break
            after = id_of(page[-1])
        return found

    async def _page(self, channel: int, query: dict[str, str]) -> list[Json]:
        route = Route("GET", "/channels/{channel_id}/messages", channel_id=channel)
        try:
            page = await self._http().request(route, params={**query, "limit": str(PAGE)})
        except (discord.NotFound, discord.Forbidden) as error:
            if isinstance(post_error(error), Later):
                raise
            if isinstance(error, discord.Forbidden):
                self._no_previews.add(channel)
            return []  # there is no such thread; if the channel itself is gone, `post` reports it
        return sorted((m for m in page if id_of(m)), key=id_of)

    # --- writing ------------------------------------------------------------------------------

    async def send(self, channel: int, body: Json, *, preview: bool = False) -> Json:
        """Post a message; unarchive its thread if necessary.

        A preview is not posted in a channel that recently refused a message. Other messages are
        always tried, because one refusal says little about the next message.

        Raises:
            Forbidden: only for a preview, if the channel recently refused a message.
        """
        if preview and channel in self._no_previews:
            raise Forbidden("refused recently")
        if channel in self._no_references:
            body = {key: value for key, value in body.items() if key != REFERENCE}
        route = Route("POST", "/channels/{channel_id}/messages", channel_id=channel)
        try:
            try:
                return await self.request(route, body, channel)
            except discord.HTTPException as error:
                if error.code != THREAD_ARCHIVED:
                    raise
            opened = Route("PATCH", "/channels/{channel_id}", channel_id=channel)
            await self._http().request(opened, json={"archived": False})
            return await self.request(route, body, channel)
        except discord.Forbidden as error:
            if error.code not in FILTERED and error.code not in CLOSED_TO_BOTS:
                self._no_previews.add(channel)
            raise

    async def send_once(self, channel: int, body: Json, key: str, *, preview: bool = False) -> Json:
        """Post a message under a key; if one with this key was posted recently, return that one."""
        body = {**body, "nonce": nonce_of(key), "enforce_nonce": True}
        return await self.send(channel, body, preview=preview)

    def refused_lately(self, channel: int) -> bool:
        """Whether a channel recently refused a message, or access to its history."""
        return channel in self._no_previews

    async def direct_channel_of(self, user: int) -> int:
        """The channel of the direct messages with a person."""
        route = Route("POST", "/users/@me/channels")
        return int((await self._http().request(route, json={"recipient_id": user}))["id"])

    async def edit(self, channel: int, message: int, body: Json) -> None:
        """Edit one of the bot's messages."""
        path = "/channels/{channel_id}/messages/{message_id}"
        route = Route("PATCH", path, channel_id=channel, message_id=message)
        await self.request(route, edit_of(body), channel)

    async def request(self, route: Route, body: Json, channel: int) -> Json:
        """Post or edit a message, without the optional fields that Discord refuses."""
        while True:
            try:
                sent: Json = await self._http().request(route, json=body)
            except discord.HTTPException as error:
                fewer = without_refused(body, error)
                if fewer is None:
                    raise
                left_out = sorted(body.keys() - fewer.keys()) or ["components"]
                logger().warning("posted without", left_out=left_out, code=error.code)
                if REFERENCE in left_out and error.code == CANNOT_REPLY:
                    self._no_references.add(channel)
                body = fewer
            else:
                return sent

    async def delete(self, channel: int, message: int) -> None:
        """Delete one of the bot's messages."""
        path = "/channels/{channel_id}/messages/{message_id}"
        route = Route("DELETE", path, channel_id=channel, message_id=message)
        await self._http().request(route)


def body_of(text: str, components: list[Json]) -> Json:
    """A message that pings nobody and shows no link previews."""
    return {
        "content": text,
        "components": components,
        "allowed_mentions": {"parse": []},
        "flags": _SUPPRESS_EMBEDS,
    }


def nonce_of(key: str) -> str:
    """The nonce for a key; Discord allows at most 25 characters."""
    return hashlib.sha256(key.encode()).hexdigest()[:24]


def edit_of(body: Json) -> Json:
    """The fields that an edit accepts."""
    only_when_posted = ("nonce", "enforce_nonce", REFERENCE)
    return {key: value for key, value in body.items() if key not in only_when_posted}
