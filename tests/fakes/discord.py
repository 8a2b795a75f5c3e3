"""A fake Discord with one server: REST and gateway over real sockets, and the actions of people.

It must never be more lenient than the real one: it refuses, trims, hides and forgets the same
things. It runs in-process, or as `python -m tests.fakes.discord`, controlled by `POST /control
{"do": ...}`.
"""

import argparse
import asyncio
import inspect
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

from aiohttp import web

from tests.fakes.discord_gateway import (
    DIRECT_MESSAGES,
    GUILD_MESSAGES,
    GUILDS,
    MESSAGE_CONTENT,
    Gateway,
    Session,
)
from tests.fakes.discord_rest import Rest
from tests.fakes.discord_rules import MODAL_SUBMIT, Fault, FieldRefused, Limits, answer
from tests.fakes.discord_shapes import (
    ADMINISTRATOR,
    COMMAND_LIFE_S,
    DEFAULT,
    DIRECT,
    EVERYTHING,
    FORUM,
    GROUP,
    LOADING,
    PRIVATE_THREAD,
    PUBLIC_THREAD,
    TEXT,
    THINKING,
    THREAD_STARTER,
    TOKEN_LIFE_S,
    Json,
    Shapes,
)


class FakeDiscord(Shapes):
    """One server (`guild_id`) with the channels `general`, `secret` and `forum`, and one bot."""

    host = "127.0.0.1"
    """The address that it listens on."""

    def __init__(self, *, clock_ahead_s: float = 0.0) -> None:
        self.clock_ahead_s = clock_ahead_s
        self.everyone = EVERYTHING & ~ADMINISTRATOR
        """The permissions of the role @everyone."""
        self.members_of: dict[int, set[str]] = {}
        """The members of each private thread."""
        self.fields_refused: list[FieldRefused] = []
        self.token = "fake.discord.token"  # noqa: S105
        self.enabled_intents = MESSAGE_CONTENT
        self.public = True
        self._sequence = itertools.count()
        self.guild_id, self.application_id = self.snowflake(), self.snowflake()
        self.bot_role_id, self.staff_role_id = self.snowflake(), self.snowflake()
        self.me = self._user("threadwax", bot=True, identity=self.application_id)
        self.users = {"self": self.me}
        for name in ("ada", "bob", "eve"):
            self.users[name] = self._user(name)
        self.users["otherbot"] = self._user("otherbot", bot=True)
        self.users["discord"] = self._user("discord", system=True)
        self.more_roles: list[Json] = []
        self.roles_of: dict[str, list[str]] = {"self": [str(self.bot_role_id)]}
        self.channels: dict[int, Json] = {}
        self.general = self._channel("general", TEXT)
        self.secret = self._channel("secret", TEXT, hidden=True)
        self.forum = self._channel("forum", FORUM)
        self.channels[self.forum]["available_tags"] = [
            {"id": str(self.snowflake()), "name": name, "moderated": False, "emoji_id": None,
             "emoji_name": None} for name in ("bug", "solved")
        ]  # fmt: skip
        self.messages: dict[int, dict[int, Json]] = {}
        self.nonces: dict[tuple[int, str], Json] = {}
        """Messages that were posted with a nonce, including deleted ones."""

        self.commands: list[Json] = []
        self.command_syncs = 0
        self.interactions: dict[str, Json] = {}
        self.forms: dict[str, tuple[Json, int]] = {}
        """By person, the form that is open, and the channel."""
        self.files: dict[str, bytes] = {}
        self.pings: list[str] = []
        self.typing: list[tuple[int, float]] = []
        self.calls: list[tuple[str, str, float]] = []
        self.denied: dict[int, set[str]] = {}
        self.faults: list[Fault] = []
        self.limits = Limits()
        self.invalid_requests = 0
        self.nonce_window_s = 120.0
        self.command_life_s = COMMAND_LIFE_S
        self.token_life_s = TOKEN_LIFE_S
        self.guild_permissions = EVERYTHING
        self.changed = asyncio.Event()
        self.hook: Callable[[str, str, str], None] = lambda *_: None
        """Called with method, path, and "before" or "after" the request takes effect."""
        self.gateway = Gateway(self)

    # --- start and stop -----------------------------------------------------------------------

    async def start(self, port: int = 0) -> "FakeDiscord":
        app = web.Application(client_max_size=1 << 26)
        Rest(self).add_to(app)
        app.router.add_get("/gateway", self.gateway.serve)
        app.router.add_get("/gateway/", self.gateway.serve)
        app.router.add_post("/control", self._control)
        app.on_response_prepare.append(self._date)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, port).start()
        self.port: int = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        self.gateway.drop()
        await self._runner.cleanup()

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def api_url(self) -> str:
        return f"{self.base_url}/api/v10"

    @property
    def gateway_url(self) -> str:
        return f"ws://{self.host}:{self.port}/gateway"

    @property
    def application_flags(self) -> int:
        return 1 << 19 if self.enabled_intents & MESSAGE_CONTENT else 0

    @property
    def env(self) -> dict[str, str]:
        """The settings that connect an adapter to this fake."""
        return {
            "DISCORD_TOKEN": self.token,
            "DISCORD_API_URL": self.api_url,
            "DISCORD_GATEWAY_URL": self.gateway_url,
        }

    async def _date(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = formatdate(self.now(), usegmt=True)

    async def _control(self, http: web.Request) -> web.Response:
        told = await http.json()
        result = getattr(self, told.pop("do"))(**told)
        if inspect.isawaitable(result):
            result = await result
        return answer(result)

    # --- people's actions ---------------------------------------------------------------------

    async def say(
        self,
        text: str,
        *,
        author: str = "ada",
        channel: int = 0,
        reply_to: int = 0,
        ping: bool = True,
        files: dict[str, bytes] | None = None,
        mention: bool = False,
        kind: int = DEFAULT,
        webhook: bool = False,
        forward: int = 0,
        malformed: Json | None = None,
        fields: Json | None = None,
    ) -> int:
        """Write a message and return its id. `mention` puts a mention of the bot in front.

        `fields` are added to the message, for example embeds, a poll or stickers. The fields of
        `malformed` replace its own; the value `MISSING` removes one.
        """
        where = channel or self.general
        if mention:
            text = f"<@{self.application_id}> {text}".strip()
        message = self._message(where, self.users[author], text, kind)
        message.update(fields or {})
        if webhook:
            message["webhook_id"] = str(self.snowflake())
        if reply_to:
            self._refer(message, where, reply_to, ping=ping)
        for name, data in (files or {}).items():
            message["attachments"].append(self._attachment(name, data))
        if forward:
            original = self._find(forward)
            message["message_reference"] = {
                "type": 1, "message_id": str(forward), "channel_id": original["channel_id"],
            }  # fmt: skip
            keys = ("type", "content", "mentions", "mention_roles", "attachments", "embeds",
                    "timestamp", "edited_timestamp", "flags", "components", "sticker_items",
                    "soundboard_sounds")  # fmt: skip
            snapshot = {k: original[k] for k in keys if k in original}
            message["message_snapshots"] = [{"message": snapshot}]
        if malformed:
            message["_malformed"] = malformed
        thread = self.channels[where]
        if "thread_metadata" in thread:
            thread["thread_metadata"]["archived"] = False
        await self._publish("MESSAGE_CREATE", message)
        return int(message["id"])

    async def edit(self, message_id: int, text: str) -> None:
        message = self._find(message_id)
        message["content"] = text
        message["mentions"] = self._mentions(text)
        message["edited_timestamp"] = datetime.now(UTC).isoformat()
        await self._publish("MESSAGE_UPDATE", message)

    async def delete(self, message_id: int) -> None:
        message = self._find(message_id)
        channel = int(message["channel_id"])
        del self.messages[channel][message_id]
        gone = {"id": str(message_id), "channel_id": str(channel)}
        await self._tell(channel, "MESSAGE_DELETE", gone)

    async def direct(self, author: str = "ada") -> int:
        """Return the direct channel of a person with the bot."""
        for number, channel in self.channels.items():
            if channel["type"] == DIRECT and channel["recipients"] == [self.users[author]]:
                return number
        number = self.snowflake()
        self.channels[number] = {
            "id": str(number), "type": DIRECT, "recipients": [self.users[author]],
            "last_message_id": None, "flags": 0,
        }  # fmt: skip
        return number

    async def post_in_forum(
        self,
        title: str,
        text: str,
        *,
        author: str = "ada",
        mention: bool = True,
        tags: tuple[str, ...] = (),
    ) -> int:
        """Create a post and return its id, which is also that of its first message."""
        number = self.snowflake()
        available = {tag["name"]: tag["id"] for tag in self.channels[self.forum]["available_tags"]}
        await self._add_thread(
            number, self.forum, title, self.users[author], PUBLIC_THREAD,
            applied_tags=[available[tag] for tag in tags],
        )  # fmt: skip
        text = f"<@{self.application_id}> {text}" if mention else text
        message = self._message(number, self.users[author], text, DEFAULT, number)
        await self._publish("MESSAGE_CREATE", message)
        return number

    async def thread_on(self, message_id: int, name: str, *, author: str = "bob") -> int:
        """Open a thread on a message as a person. It has the id of the message."""
        opened_on = self._find(message_id)
        parent = int(opened_on["channel_id"])
        await self._add_thread(message_id, parent, name, self.users[author], PUBLIC_THREAD)
        opening = self._message(message_id, opened_on["author"], "", THREAD_STARTER)
        self._refer(opening, parent, message_id, ping=False)
        opening["type"] = THREAD_STARTER
        await self._publish("MESSAGE_CREATE", opening)
        return message_id

    async def private_thread(self, name: str, *members: str, parent: int = 0) -> int:
        """Create a private thread with these members. `self` stands for the bot."""
        number = self.snowflake()
        self.members_of[number] = set(members)
        owner = self.users[members[0]]
        await self._add_thread(number, parent or self.general, name, owner, PRIVATE_THREAD)
        return number

    async def join(self, thread: int, name: str) -> None:
        """Add somebody to a private thread. The bot gets an event only about itself."""
        self.members_of[thread].add(name)
        if name == "self":
            await self._tell(thread, "THREAD_CREATE", self.channels[thread])

    async def leave(self, thread: int, name: str) -> None:
        """Remove somebody from a private thread."""
        here = self.channels[thread]
        if name == "self":
            gone = {"id": str(thread), "guild_id": here["guild_id"], "member_count": 1,
                    "removed_member_ids": [self.me["id"]]}  # fmt: skip
            await self._tell(thread, "THREAD_MEMBERS_UPDATE", gone)
        self.members_of[thread].discard(name)

    async def delete_thread(self, thread: int) -> None:
        """Delete a thread with all its messages, but not the message that it was opened on."""
        here = self.channels.pop(thread)
        self.messages.pop(thread, None)
        gone = {key: here[key] for key in ("id", "guild_id", "parent_id", "type")}
        self.changed.set()
        await self.gateway.dispatch("THREAD_DELETE", GUILDS, lambda _: gone)

    async def archive(self, thread: int) -> None:
        """Archive a thread. Clients forget it until somebody writes in it."""
        self.channels[thread]["thread_metadata"]["archived"] = True
        await self._tell(thread, "THREAD_UPDATE", self.channels[thread])

    def group(self, *members: str) -> int:
        """Create a conversation of two or more people without the bot."""
        number = self.snowflake()
        people = [self.users[name] for name in members]
        self.channels[number] = {
            "id": str(number), "type": GROUP if len(people) > 2 else DIRECT,
            "recipients": people, "last_message_id": None, "flags": 0, "name": None,
            "icon": None, "owner_id": people[0]["id"],
        }  # fmt: skip
        return number

    async def command(
        self,
        name: str,
        *,
        context: int | None = None,
        author: str = "ada",
        channel: int = 0,
        target: int = 0,
        locale: str = "en-US",
        age_s: float = 0.0,
        **options: str,
    ) -> str:
        """Use a command and return its token; `age_s`: it reaches the adapter this much later.

        With `target`, it is a command from that message's menu.
        """
        known = next(c for c in self.commands if c["name"] == name)
        data: Json = {"id": known["id"], "name": name, "type": 3 if target else 1}
        if target:
            message = self._find(target)
            data |= {"target_id": str(target), "resolved": {"messages": {str(target): message}}}
        else:
            data["options"] = [{"name": k, "type": 3, "value": v} for k, v in options.items()]
        return await self._interact(
            2, channel or self.general, author, data, locale=locale, context=context, age_s=age_s
        )

    async def click(
        self, message_id: int, button: str, *, author: str = "ada", age_s: float = 0.0
    ) -> str:
        """Click the button whose custom id contains `button`. Returns the interaction's token."""
        message = self._find(message_id)
        buttons = [b["custom_id"] for row in message["components"] for b in row["components"]]
        identity = next(b for b in buttons if button in b)
        data = {"custom_id": identity, "component_type": 2}
        channel = int(message["channel_id"])
        return await self._interact(3, channel, author, data, message=message, age_s=age_s)

    async def submit(self, *, author: str = "ada", **typed: str) -> str:
        """Send the open form. Returns the interaction's token."""
        form, channel = self.forms.pop(author)
        rows = []
        for row in form["components"]:
            (shown,) = row["components"]
            words = typed.get(shown["custom_id"], "")
            assert len(words) <= shown["max_length"], "Discord does not let people type more"
            rows.append(
                {
                    "type": 1,
                    "components": [{"type": 4, "custom_id": shown["custom_id"], "value": words}],
                }
            )
        data = {"custom_id": form["custom_id"], "components": rows}
        return await self._interact(MODAL_SUBMIT, channel, author, data)

    async def redeliver(self, message_id: int) -> None:
        """Send the same message through the gateway again."""
        await self._publish("MESSAGE_CREATE", self._find(message_id))

    def fail(self, method: str, path: str, **fault: Any) -> None:
        """Make the next requests on this path fail."""
        self.faults.append(Fault(method, path, **fault))

    def expire_files(self, message_id: int) -> None:
        """Expire the signed URLs of a message's files. New URLs are valid."""
        for attachment in self._find(message_id)["attachments"]:
            path = attachment["url"].rsplit("/cdn/", 1)[1]
            self.files[f"{path}-renewed"] = self.files.pop(path)

    def role(self, name: str, permissions: int = 0) -> int:
        """Add a role that people can get. Clients learn of it when they connect."""
        number = self.snowflake()
        self.more_roles.append({"id": str(number), "name": name, "permissions": str(permissions)})
        return number

    # --- what people see ----------------------------------------------------------------------

    def read(self, channel: int = 0, *, author: str = "", mine: bool = True) -> list[str]:
        """Return the bot's texts there that everybody (or `author`) can read, in order."""
        return [
            THINKING if message["flags"] & LOADING else message["content"]
            for message in self.posts(channel, author=author, mine=mine)
        ]

    def posts(self, channel: int = 0, *, author: str = "", mine: bool = True) -> list[Json]:
        visible = []
        for _, message in sorted(self.messages.get(channel or self.general, {}).items()):
            own = message["author"]["id"] == self.me["id"]
            if (
                message["type"] != THREAD_STARTER
                and own is mine
                and message.get("_only_for") in (None, author)
            ):
                visible.append(message)
        return visible

    def replies_to(self, message_id: int) -> list[str]:
        """Return the bot's texts below a message: in its thread, or as replies in its channel."""
        below = self.read(message_id) if message_id in self.channels else []
        channel = int(self._find(message_id)["channel_id"])
        inline = [
            m["content"]
            for m in self.posts(channel)
            if int(m.get("message_reference", {}).get("message_id", 0)) == message_id
        ]
        return below + inline

    async def until(self, condition: Any, *, seconds: float = 30.0) -> None:
        """Wait until the condition holds. It is checked after every change."""
        async with asyncio.timeout(seconds):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    # --- gateway events -----------------------------------------------------------------------

    async def _add_thread(
        self, number: int, parent: int, name: str, owner: Json, kind: int, **fields: Any
    ) -> Json:
        now = datetime.fromtimestamp(self.now(), UTC).isoformat()
        thread = self.channels[number] = {
            "id": str(number), "guild_id": str(self.guild_id), "parent_id": str(parent),
            "owner_id": owner["id"], "type": kind, "name": name, "message_count": 0,
            "member_count": 1, "rate_limit_per_user": 0, "flags": 0, "last_message_id": None,
            "thread_metadata": {
                "archived": False, "auto_archive_duration": 1440, "archive_timestamp": now,
                "locked": False, "create_timestamp": now,
            },
            **fields,
        }  # fmt: skip
        await self._tell(number, "THREAD_CREATE", {**thread, "newly_created": True})
        return thread

    async def _publish(self, event: str, message: Json) -> None:
        channel = int(message["channel_id"])
        self.changed.set()
        if not self.bot_sees(channel):
            return
        author = message["author"]["id"]
        in_guild = self.channels[channel]["type"] != DIRECT

        def data(session: Session) -> Json:
            out = self.shown(message, content=bool(session.intents & MESSAGE_CONTENT))
            if "_nonce" in message and event == "MESSAGE_CREATE":
                out["nonce"] = message["_nonce"]
            if in_guild:
                member = {k: v for k, v in self.member(self.name_of(author)).items() if k != "user"}
                out |= {"guild_id": str(self.guild_id), "member": member}
            return out

        self.changed.set()
        await self.gateway.dispatch(event, GUILD_MESSAGES if in_guild else DIRECT_MESSAGES, data)

    async def _tell(self, channel: int, event: str, payload: Json) -> None:
        in_guild = self.channels[channel]["type"] != DIRECT
        self.changed.set()
        if not self.bot_sees(channel):
            return
        if in_guild:
            payload = {**payload, "guild_id": str(self.guild_id)}
        intent = GUILDS if event.startswith("THREAD") else GUILD_MESSAGES
        self.changed.set()
        intent = intent if in_guild else DIRECT_MESSAGES
        await self.gateway.dispatch(event, intent, lambda _: payload)

    async def _interact(
        self,
        kind: int,
        channel: int,
        author: str,
        data: Json,
        *,
        locale: str = "en-US",
        message: Json | None = None,
        context: int | None = None,
        age_s: float = 0.0,
    ) -> str:
        number = self.snowflake() - (int(age_s * 1000) << 22)
        token = f"interaction-token-{number}"
        here = self.channels[channel]
        payload: Json = {
            "id": str(number), "application_id": str(self.application_id), "type": kind,
            "data": data, "channel_id": str(channel), "channel": here, "token": token, "version": 1,
            "locale": locale, "entitlements": [], "app_permissions": str(EVERYTHING),
            "attachment_size_limit": 10 << 20, "authorizing_integration_owners": {},
        }  # fmt: skip
        if here["type"] in {DIRECT, GROUP}:
            private = 1 if context is None else context
            payload |= {"user": self.users[author], "context": private}
        else:
            member = {**self.member(author), "permissions": str(EVERYTHING)}
            payload |= {"guild_id": str(self.guild_id), "member": member, "context": 0,
                        "guild_locale": "en-US", "guild": {"id": str(self.guild_id), "features": [],
                                                           "locale": "en-US"}}  # fmt: skip
        if message is not None:
            payload["message"] = self.shown(message, content=True)
        self.interactions[token] = {
            "id": str(number), "at": time.monotonic(), "kind": kind, "channel": channel,
            "author": author, "answered": False, "original": None, "message": message,
        }  # fmt: skip
        await self.gateway.dispatch("INTERACTION_CREATE", 0, lambda _: payload)
        return token


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    fake = await FakeDiscord().start(options.port)
    print(" ".join(f"{name}={value}" for name, value in fake.env.items()), flush=True)  # noqa: T201
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
