"""The fake Discord's REST API, version 10: the routes that a bot uses, and their refusals."""

import json
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.fakes.discord_rules import (
    MODAL_SUBMIT,
    Refused,
    answer,
    check_message,
    checked_form,
)

if TYPE_CHECKING:
    from tests.fakes.discord import FakeDiscord

Json = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[Any]]
DIRECT, PUBLIC_THREAD, THREAD_STARTER = 1, 11, 21
LOADING, EPHEMERAL, SUPPRESS_EMBEDS, HAS_THREAD = 1 << 7, 1 << 6, 1 << 2, 1 << 5
PLAIN_CHANNELS = {0, 5}
FILES_LIMIT_BYTES = 10 << 20
SEND, READ, OPEN_THREADS = "send_messages", "read_message_history", "create_public_threads"


class Rest:
    """The routes. The state belongs to the world."""

    def __init__(self, world: "FakeDiscord") -> None:
        self.world = world

    def add_to(self, app: web.Application) -> None:
        message = "/channels/{channel}/messages/{message}"
        callback = "/webhooks/{application}/{token}"
        for method, path, handler in (
            ("GET", "/users/@me", self._me),
            ("GET", "/users/@me/guilds", self._guilds),
            ("GET", "/oauth2/applications/@me", self._application),
            ("GET", "/applications/@me", self._application),
            ("POST", "/users/@me/channels", self._open_direct),
            ("GET", "/gateway/bot", self._gateway),
            ("PUT", "/applications/{application}/commands", self._sync),
            ("GET", "/channels/{channel}", self._channel),
            ("PATCH", "/channels/{channel}", self._change_channel),
            ("GET", "/channels/{channel}/messages", self._history),
            ("POST", "/channels/{channel}/messages", self._post),
            ("GET", message, self._get),
            ("PATCH", message, self._edit),
            ("DELETE", message, self._delete),
            ("POST", f"{message}/threads", self._open_thread),
            ("POST", "/channels/{channel}/typing", self._typing),
            ("POST", "/interactions/{id}/{token}/callback", self._callback),
            ("GET", f"{callback}/messages/@original", self._original),
            ("PATCH", f"{callback}/messages/@original", self._edit_original),
            ("DELETE", f"{callback}/messages/@original", self._delete_original),
            ("POST", callback, self._follow_up),
        ):
            app.router.add_route(method, f"/api/v10{path}", self._guarded(path, handler))
        app.router.add_get("/cdn/{path:.*}", self._file)

    def _guarded(self, route: str, handler: Handler) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            world = self.world
            world.calls.append((request.method, request.path, time.monotonic()))
            by_token = route.startswith(("/interactions", "/webhooks"))
            if not by_token and request.headers.get("Authorization") != f"Bot {world.token}":
                world.invalid_requests += 1
                return answer({"message": "401: Unauthorized", "code": 0}, 401)
            fault = next((f for f in world.faults if f.matches(request)), None)
            if fault is not None:
                fault.times -= 1
                if fault.times <= 0:
                    world.faults.remove(fault)
                if (instead := await fault.instead(request)) is not None:
                    world.invalid_requests += fault.status in {401, 403, 429}
                    return instead
            # Interactions do not count for the global limit; a webhook's bucket belongs to its
            # token.
            major = request.match_info.get("channel") or request.match_info.get("token", "")
            headers, wait_s = world.limits.take(request.method, route, major)
            is_global = False
            if not by_token and not wait_s:
                wait_s = world.limits.take_global()
                is_global = bool(wait_s)
            if wait_s:
                world.invalid_requests += 1
                body = {"message": "You are being rate limited.", "retry_after": round(wait_s, 3),
                        "global": is_global}  # fmt: skip
                return answer(body, 429, headers | {"Via": "1.1 google"})
            try:
                world.hook(request.method, request.path, "before")
                result = await handler(request)
                world.hook(request.method, request.path, "after")
            except Refused as error:
                world.invalid_requests += error.status in {401, 403}
                return answer(error.body, error.status, headers)
            finally:
                world.changed.set()
            if fault is not None and fault.kind == "lost" and request.transport is not None:
                request.transport.abort()
                raise ConnectionResetError
            if result is None:
                return web.Response(status=204, headers=headers)
            return answer(result, headers=headers)

        return handle

    # --- the bot itself -----------------------------------------------------------------------

    async def _me(self, _: web.Request) -> Json:
        return self.world.me

    async def _guilds(self, _: web.Request) -> list[Json]:
        world = self.world
        return [{"id": str(world.guild_id), "name": "Test server", "icon": None, "owner": False,
                 "permissions": str(world.guild_permissions), "features": []}]  # fmt: skip

    async def _application(self, _: web.Request) -> Json:
        world = self.world
        return {"id": str(world.application_id), "name": "threadwax", "icon": None,
                "description": "", "bot_public": world.public, "bot_require_code_grant": False,
                "verify_key": "0", "flags": world.application_flags,
                "owner": world.users["ada"]}  # fmt: skip

    async def _gateway(self, request: web.Request) -> Json:
        limit = {"total": 1000, "remaining": 1000 - len(self.world.gateway.identifies),
                 "reset_after": 86_400_000, "max_concurrency": 1}  # fmt: skip
        # Through the same proxy, if there is one.
        return {"url": f"ws://{request.host}/gateway", "shards": 1, "session_start_limit": limit}

    async def _open_direct(self, request: web.Request) -> Json:
        world = self.world
        recipient = str((await request.json())["recipient_id"])
        if recipient not in {user["id"] for user in world.users.values()}:
            raise Refused(400, 50033, "Invalid Recipient(s)")
        return world.channels[await world.direct(world.name_of(recipient))]

    async def _sync(self, request: web.Request) -> list[Json]:
        world = self.world
        told = await request.json()
        for command in told:
            if command.get("type", 1) == 1 and not re.fullmatch(r"[-_\w]{1,32}", command["name"]):
                raise Refused(400, 50035, "Invalid Form Body: name")
            if command.get("type", 1) == 1 and not 1 <= len(command["description"]) <= 100:
                raise Refused(400, 50035, "Invalid Form Body: description")
        world.commands = [
            {"version": "1", "dm_permission": True, "default_member_permissions": None,
             "nsfw": False, "type": 1, "description": "", **command,
             "id": str(world.snowflake()), "application_id": str(world.application_id)}
            for command in told
        ]  # fmt: skip
        world.command_syncs += 1
        return world.commands

    # --- channels and messages ----------------------------------------------------------------

    def _may(self, channel: int, *permissions: str) -> Json:
        world = self.world
        if channel not in world.channels:
            raise Refused(404, 10003, "Unknown Channel")
        here = world.channels[channel]
        if not world.bot_sees(channel):
            raise Refused(403, 50001, "Missing Access")
        denied = self._denied(channel)
        if "view_channel" in denied:
            raise Refused(403, 50001, "Missing Access")
        if "closed" in denied:
            raise Refused(403, 50007, "Cannot send messages to this user")
        if denied & set(permissions):
            raise Refused(403, 50013, "Missing Permissions")
        return here

    def _denied(self, channel: int) -> set[str]:
        parent = int(self.world.channels[channel].get("parent_id") or 0)
        return self.world.denied.get(channel) or self.world.denied.get(parent, set())

    def _known(self, channel: int, message: int) -> Json:
        found = self.world.messages.get(channel, {}).get(message)
        if found is None or "_only_for" in found:
            raise Refused(404, 10008, "Unknown Message")
        return found

    def _shown(self, message: Json) -> Json:
        # Only the response to the post itself and the gateway include a nonce.
        return self.world.shown(message, content=bool(self.world.application_flags))

    async def _channel(self, request: web.Request) -> Json:
        return self._may(int(request.match_info["channel"]))

    async def _change_channel(self, request: web.Request) -> Json:
        here = self._may(int(request.match_info["channel"]))
        told = await request.json()
        if here.get("thread_metadata", {}).get("locked"):
            raise Refused(403, 50013, "Missing Permissions")
        here["thread_metadata"]["archived"] = told.get("archived", False)
        return here

    async def _history(self, request: web.Request) -> list[Json]:
        channel = int(request.match_info["channel"])
        self._may(channel, READ)
        limit = int(request.query.get("limit", 50))
        after, before = int(request.query.get("after", 0)), int(request.query.get("before", 0))
        here = [
            m for n, m in sorted(self.world.messages.get(channel, {}).items())
            if n > after and (not before or n < before) and "_only_for" not in m
        ]  # fmt: skip
        chosen = here[:limit] if after else here[-limit:]
        return [self._shown(m) for m in reversed(chosen)]

    async def _get(self, request: web.Request) -> Json:
        channel = int(request.match_info["channel"])
        self._may(channel, READ)
        return self._shown(self._known(channel, int(request.match_info["message"])))

    async def _post(self, request: web.Request) -> Json:
        world = self.world
        channel = int(request.match_info["channel"])
        here = self._may(channel, SEND)
        body = await request.json()
        check_message(body, new=True)
        if "message_reference" in body and READ in self._denied(channel):
            raise Refused(403, 160002, "Cannot reply without permission to read message history")
        for extra in world.fields_refused:
            extra.check(body)
        nonce = body.get("nonce")
        if nonce is not None and body.get("enforce_nonce"):
            sent = world.nonces.get((channel, nonce))
            if sent and time.monotonic() - sent["_at"] < world.nonce_window_s:
                return self._shown(sent) | {"nonce": nonce}
        meta = here.get("thread_metadata")
        if meta and meta["locked"]:
            raise Refused(403, 160005, "Thread is locked")
        if meta:
            meta["archived"] = False
        reference = body.get("message_reference")
        known = world.messages.get(channel, {})
        if reference and int(reference["message_id"]) not in known:
            if reference.get("fail_if_not_exists", True):
                raise Refused(400, 50035, "Invalid Form Body: Unknown message")
            reference = None
        message = self._write(channel, body)
        if reference:
            world._refer(message, channel, int(reference["message_id"]), ping=False)
        message["_at"] = time.monotonic()
        if nonce is not None:
            message["_nonce"] = nonce
            world.nonces[channel, nonce] = message
        await world._publish("MESSAGE_CREATE", message)
        return self._shown(message) | ({"nonce": nonce} if nonce is not None else {})

    def _write(self, channel: int, body: Json) -> Json:
        world = self.world
        message = world._message(channel, world.me, "")
        self._fill(message, body, new=True)
        return message

    def _fill(self, message: Json, body: Json, *, new: bool) -> None:
        content = check_message(body, new=new)
        if new or "content" in body:
            message["content"] = content
        if "components" in body:
            message["components"] = [
                {**row, "id": 1, "components": [{"id": 2, **b} for b in row["components"]]}
                for row in body["components"]
            ]
        if "flags" in body:
            message["flags"] = body["flags"] | (message["flags"] & HAS_THREAD)
        parse = body.get("allowed_mentions", {"parse": ["everyone", "users", "roles"]}).get("parse")
        if parse is None or "everyone" in parse:
            self.world.pings += re.findall(r"@everyone|@here", content)
        if parse is None or "users" in parse:
            self.world.pings += re.findall(r"<@\d+>", content)
        if parse is None or "roles" in parse:
            self.world.pings += re.findall(r"<@&\d+>", content)
        links = re.findall(r"(?<!<)https?://\S+", content)
        hidden = message["flags"] & SUPPRESS_EMBEDS
        message["embeds"] = [{"type": "link", "url": u} for u in links] if not hidden else []

    async def _edit(self, request: web.Request) -> Json:
        channel = int(request.match_info["channel"])
        self._may(channel)
        message = self._known(channel, int(request.match_info["message"]))
        if message["author"] is not self.world.me:
            raise Refused(403, 50005, "Cannot edit a message authored by another user")
        body = await request.json()
        for extra in self.world.fields_refused:
            extra.check(body)
        self._fill(message, body, new=False)
        message["edited_timestamp"] = datetime.now(UTC).isoformat()
        await self.world._publish("MESSAGE_UPDATE", message)
        return self._shown(message)

    async def _delete(self, request: web.Request) -> None:
        channel, number = int(request.match_info["channel"]), int(request.match_info["message"])
        here = self._may(channel)
        message = self._known(channel, number)
        if here.get("thread_metadata", {}).get("archived"):
            raise Refused(400, 50083, "Thread is archived")
        if message["author"] is not self.world.me:
            raise Refused(403, 50013, "Missing Permissions")
        await self.world.delete(number)

    async def _open_thread(self, request: web.Request) -> Json:
        world = self.world
        channel, number = int(request.match_info["channel"]), int(request.match_info["message"])
        here = self._may(channel, OPEN_THREADS)
        if here["type"] not in PLAIN_CHANNELS:
            raise Refused(400, 50024, "Cannot execute action on this channel type")
        message = self._known(channel, number)
        if number in world.channels:
            raise Refused(400, 160004, "A thread has already been created for this message")
        body = await request.json()
        if not 1 <= len(body["name"].strip()) <= 100:
            raise Refused(400, 50035, "Invalid Form Body: name")
        if body.get("auto_archive_duration", 1440) not in {60, 1440, 4320, 10080}:
            raise Refused(400, 50035, "Invalid Form Body: auto_archive_duration")
        thread = await world._add_thread(number, channel, body["name"], world.me, PUBLIC_THREAD)
        message["flags"] |= HAS_THREAD
        opening = world._message(number, message["author"], "", THREAD_STARTER)
        world._refer(opening, channel, number, ping=False)
        opening["type"] = THREAD_STARTER
        await world._publish("MESSAGE_CREATE", opening)
        return thread

    async def _typing(self, request: web.Request) -> None:
        channel = int(request.match_info["channel"])
        self._may(channel, SEND)
        self.world.typing.append((channel, time.monotonic()))

    # --- interactions -------------------------------------------------------------------------

    async def _callback(self, request: web.Request) -> Json | None:
        world = self.world
        known = world.interactions.get(request.match_info["token"])
        if known is None or time.monotonic() - known["at"] > world.command_life_s:
            raise Refused(404, 10062, "Unknown interaction")
        if known["answered"]:
            raise Refused(400, 40060, "Interaction has already been acknowledged.")
        body = await request.json()
        known["answered"] = True
        data = body.get("data") or {}
        message = None
        match body["type"]:
            case 4 | 5:
                flags = data.get("flags", 0) | (LOADING if body["type"] == 5 else 0)
                content = {"content": "…"} if body["type"] == 5 else {}
                message = self._write(known["channel"], {**data, **content, "flags": flags})
                if flags & EPHEMERAL:
                    message["_only_for"] = known["author"]
                known["original"] = message
                await world._publish("MESSAGE_CREATE", message)
            case 6:
                known["original"] = known["message"]
            case 7:
                known["original"] = known["message"]
                self._fill(known["message"], data, new=False)
            case 9:
                if known["kind"] == MODAL_SUBMIT:
                    raise Refused(400, 50035, "A form cannot answer a form")
                world.forms[known["author"]] = checked_form(data), known["channel"]
        if request.query.get("with_response") not in {"1", "true", "True"}:
            return None
        told: Json = {"interaction": {"id": known["id"], "type": known["kind"],
                                      "response_message_loading": body["type"] == 5,
                                      "response_message_ephemeral": False}}  # fmt: skip
        if message is not None:
            told["interaction"]["response_message_id"] = message["id"]
            told["resource"] = {"type": body["type"], "message": self._shown(message)}
        return told

    def _interaction(self, request: web.Request) -> Json:
        known = self.world.interactions.get(request.match_info["token"])
        if known is None or time.monotonic() - known["at"] > self.world.token_life_s:
            raise Refused(401, 50027, "Invalid Webhook Token")
        if not known["answered"]:
            raise Refused(404, 10015, "Unknown Webhook")
        return known

    def _first_answer(self, request: web.Request) -> Json:
        original = self._interaction(request)["original"]
        if (
            original is None
            or int(original["id"]) not in self.world.messages[int(original["channel_id"])]
        ):
            raise Refused(404, 10008, "Unknown Message")
        found: Json = original
        return found

    async def _original(self, request: web.Request) -> Json:
        return self._shown(self._first_answer(request))

    async def _edit_original(self, request: web.Request) -> Json:
        message = self._first_answer(request)
        body, files = await _with_files(request)
        loading = bool(message["flags"] & LOADING)
        message["flags"] &= ~LOADING
        self._fill(message, body, new=loading)
        for attachment in body.get("attachments") or ():
            name, data = files[f"files[{attachment['id']}]"]
            message["attachments"].append(self.world._attachment(name, data))
        await self.world._publish("MESSAGE_UPDATE", message)
        return self._shown(message)

    async def _delete_original(self, request: web.Request) -> None:
        await self.world.delete(int(self._first_answer(request)["id"]))

    async def _follow_up(self, request: web.Request) -> Json:
        known = self._interaction(request)
        body = await request.json()
        message = self._write(known["channel"], body)
        if body.get("flags", 0) & EPHEMERAL:
            message["_only_for"] = known["author"]
        await self.world._publish("MESSAGE_CREATE", message)
        return self._shown(message)

    async def _file(self, request: web.Request) -> web.Response:
        data = self.world.files.get(request.match_info["path"])
        if data is None:
            return web.Response(status=404, text="This content is no longer available.")
        return web.Response(body=data)


async def _with_files(request: web.Request) -> tuple[Json, dict[str, tuple[str, bytes]]]:
    """The JSON of a request, and its files by the names of their fields, within Discord's limit."""
    if request.content_type != "multipart/form-data":
        return await request.json(), {}
    form = await request.post()
    files = {
        name: (field.filename, field.file.read())
        for name, field in form.items()
        if isinstance(field, web.FileField)
    }
    if sum(len(data) for _, data in files.values()) > FILES_LIMIT_BYTES:
        raise Refused(413, 40005, "Request entity too large")
    return json.loads(str(form["payload_json"])), files
