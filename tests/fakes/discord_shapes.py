"""The fake Discord's objects, in the shape in which the real one sends them."""

import itertools
import time
from datetime import UTC, datetime
from typing import Any

EPOCH_MS = 1_420_070_400_000
TEXT, DIRECT, VOICE, GROUP, STAGE = 0, 1, 2, 3, 13
PUBLIC_THREAD, PRIVATE_THREAD, FORUM = 11, 12, 15
DEFAULT, REPLY, JOINED, SLASH, THREAD_STARTER = 0, 19, 7, 20, 21
LOADING, EPHEMERAL, SUPPRESS_EMBEDS, HAS_THREAD = 1 << 7, 1 << 6, 1 << 2, 1 << 5
EVERYTHING = (1 << 50) - 1
VIEW_CHANNEL, ADMINISTRATOR, READ_HISTORY = 1 << 10, 1 << 3, 1 << 16
THINKING = "(is thinking...)"
COMMAND_LIFE_S = 3.0
TOKEN_LIFE_S = 15 * 60.0

Json = dict[str, Any]
MISSING: Any = object()
"""Marks a field that a malformed message does not have."""


def snowflake_time(number: int) -> str:
    moment = ((number >> 22) + EPOCH_MS) / 1000
    return datetime.fromtimestamp(moment, UTC).isoformat()


class Shapes:
    """Users, channels, messages and the server, and their visibility."""

    base_url: str
    me: Json
    users: dict[str, Json]
    roles_of: dict[str, list[str]]
    more_roles: list[Json]
    channels: dict[int, Json]
    messages: dict[int, dict[int, Json]]
    files: dict[str, bytes]
    clock_ahead_s: float
    members_of: dict[int, set[str]]
    guild_id: int
    everyone: int
    bot_role_id: int
    staff_role_id: int
    _sequence: "itertools.count[int]"
    _last: int

    def now(self) -> float:
        """Discord's clock, by which it creates ids."""
        return time.time() + self.clock_ahead_s

    def snowflake(self) -> int:
        milliseconds = int(self.now() * 1000) - EPOCH_MS
        number = milliseconds << 22 | next(self._sequence) % (1 << 22)
        self._last = max(getattr(self, "_last", 0) + 1, number)
        return self._last

    def _user(
        self, name: str, *, bot: bool = False, identity: int = 0, system: bool = False
    ) -> Json:
        return ({"system": True} if system else {}) | {
            "id": str(identity or self.snowflake()), "username": name, "discriminator": "0",
            "global_name": name.title(), "avatar": None, "bot": bot, "flags": 0,
        }  # fmt: skip

    def _channel(
        self, name: str, kind: int, *, hidden: bool = False, deny: int = 0, allow: int = 0
    ) -> int:
        """Returns a channel. `deny` and `allow`: the permissions of @everyone in it."""
        number = self.snowflake()
        deny |= VIEW_CHANNEL if hidden else 0
        pair = {"id": str(self.guild_id), "type": 0, "allow": str(allow), "deny": str(deny)}
        self.channels[number] = {
            "id": str(number), "guild_id": str(self.guild_id), "type": kind, "name": name,
            "position": 0, "permission_overwrites": [pair] if deny or allow else [], "nsfw": False,
            "topic": None, "parent_id": None, "last_message_id": None, "flags": 0,
            "rate_limit_per_user": 0, "available_tags": [],
        }  # fmt: skip
        if kind in {VOICE, STAGE}:
            self.channels[number] |= {"bitrate": 64_000, "user_limit": 0, "rtc_region": None}
        return number

    def guild_payload(self) -> Json:
        role = {"color": 0, "hoist": False, "managed": False, "mentionable": False, "flags": 0}
        everyone = role | {"id": str(self.guild_id), "name": "@everyone", "position": 0,
                           "permissions": str(self.everyone)}  # fmt: skip
        own = role | {"id": str(self.bot_role_id), "name": "threadwax", "position": 1,
                      "permissions": str(EVERYTHING), "managed": True,
                      "tags": {"bot_id": self.me["id"]}}  # fmt: skip
        staff = role | {"id": str(self.staff_role_id), "name": "staff", "position": 2,
                        "permissions": "0"}  # fmt: skip
        more = [role | {"position": 3} | one for one in self.more_roles]
        here = [c for c in self.channels.values() if "guild_id" in c]
        gone = {"archived": True}
        return {
            "id": str(self.guild_id), "name": "Test server", "icon": None,
            "owner_id": self.users["ada"]["id"], "roles": [everyone, own, staff, *more],
            "emojis": [],
            "features": [], "afk_timeout": 300, "verification_level": 0, "nsfw_level": 0,
            "default_message_notifications": 0, "explicit_content_filter": 0, "mfa_level": 0,
            "system_channel_flags": 0, "premium_tier": 0, "preferred_locale": "en-US",
            "premium_progress_bar_enabled": False, "unavailable": False, "member_count": 5,
            "members": [self.member("self")], "presences": [], "voice_states": [],
            "channels": [c for c in here if "thread_metadata" not in c],
            "threads": [
                c for c in here
                if not c.get("thread_metadata", gone)["archived"] and self.bot_sees(int(c["id"]))
            ],
            "stage_instances": [], "guild_scheduled_events": [], "stickers": [],
        }  # fmt: skip

    def bot_sees(self, channel: int) -> bool:
        """Whether the bot gets the events of a channel. In a private thread it must be a member."""
        return "self" in self.members_of.get(channel, {"self"})

    def member(self, name: str) -> Json:
        return {
            "user": self.users[name], "roles": self.roles_of.get(name, []), "deaf": False,
            "joined_at": "2026-01-01T00:00:00+00:00", "mute": False, "flags": 0,
        }  # fmt: skip

    def name_of(self, user_id: str) -> str:
        return next(n for n, u in self.users.items() if u["id"] == user_id)

    def _mentions(self, text: str) -> list[Json]:
        return [u for u in self.users.values() if f"<@{u['id']}>" in text]

    def _message(
        self, channel: int, author: Json, text: str, kind: int = DEFAULT, number: int = 0
    ) -> Json:
        number = number or self.snowflake()
        message: Json = {
            "id": str(number), "channel_id": str(channel), "author": author, "content": text,
            "timestamp": snowflake_time(number), "edited_timestamp": None, "tts": False,
            "mention_everyone": "@everyone" in text or "@here" in text,
            "mentions": self._mentions(text),
            "mention_roles": [
                str(r) for r in (self.bot_role_id, self.staff_role_id) if f"<@&{r}>" in text
            ],
            "attachments": [], "embeds": [], "pinned": False, "type": kind, "flags": 0,
            "components": [],
        }  # fmt: skip
        self.messages.setdefault(channel, {})[number] = message
        self.channels[channel]["last_message_id"] = str(number)
        return message

    def _refer(self, message: Json, channel: int, to: int, *, ping: bool) -> None:
        original = self._find(to)
        message["type"] = REPLY
        message["message_reference"] = {
            "type": 0, "message_id": str(to), "channel_id": str(channel),
            "guild_id": str(self.guild_id),
        }  # fmt: skip
        message["referenced_message"] = original
        if ping and original["author"] not in message["mentions"]:
            message["mentions"].append(original["author"])

    def _attachment(self, name: str, data: bytes) -> Json:
        number = self.snowflake()
        self.files[f"{number}/{name}"] = data
        kinds = {"png": "image/png", "txt": "text/plain; charset=utf-8", "py": "text/x-python"}
        return {
            "id": str(number), "filename": name, "size": len(data),
            "url": f"{self.base_url}/cdn/{number}/{name}",
            "proxy_url": f"{self.base_url}/cdn/{number}/{name}",
            "content_type": kinds.get(name.rsplit(".", 1)[-1], "application/octet-stream"),
        }  # fmt: skip

    def _find(self, message_id: int) -> Json:
        return next(m[message_id] for m in self.messages.values() if message_id in m)

    def shown(self, message: Json, *, content: bool) -> Json:
        """Returns a message as it is sent: without the intent, most messages have no content."""
        out = {k: v for k, v in message.items() if not k.startswith("_")}
        named = message["author"] is self.me or any(m is self.me for m in message["mentions"])
        direct = self.channels[int(message["channel_id"])]["type"] == DIRECT
        if not (content or named or direct):
            out |= {"content": "", "attachments": [], "embeds": [], "components": []}
            out.pop("message_snapshots", None)
            out.pop("poll", None)
        for attachment in out["attachments"]:
            path = attachment["url"].rsplit("/cdn/", 1)[1]
            if path not in self.files and f"{path}-renewed" in self.files:
                out["attachments"] = [{**attachment, "url": f"{attachment['url']}-renewed"}]
        if (original := message.get("referenced_message")) is not None:
            here = self.messages.get(int(original["channel_id"]), {})
            there = int(original["id"]) in here
            shown = self.shown(original, content=content) if there else None
            # One level only: a referenced message does not include its own reference.
            out["referenced_message"] = shown and {
                key: value for key, value in shown.items() if key != "referenced_message"
            }
        out |= message.get("_malformed", {})
        return {k: v for k, v in out.items() if v is not MISSING}
