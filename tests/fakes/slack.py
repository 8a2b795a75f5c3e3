"""A fake Slack on loopback for the real SDK: Web API, Socket Mode and events over HTTP.

`python -m tests.fakes.slack` runs it as a process. `POST /control` then performs users' actions.
"""

import argparse
import asyncio
import inspect
import json
import random
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.fakes.slack_delivery import Delivery, Sockets
from tests.fakes.slack_rules import (
    LINK,
    LOADING_LIMIT,
    MARKDOWN_LIMIT,
    PING,
    SCOPES,
    Refusal,
    check_message,
    check_metadata,
    check_view,
    labels,
    raw_texts,
    rendered,
)
from tests.fakes.slack_shapes import SECRET_ROOM, TEAM, as_read, channel_info

BOT = "UBOT"
BOT_TOKEN = "xoxb-fake-bot-token"  # noqa: S105
APP_TOKEN = "xapp-fake-app-token"  # noqa: S105
ROOM, GROUP, SHARED_ROOM = "CROOM", "CGROUP", "CSHARED"
ORG_ROOM, PENDING_ROOM = "CORG", "CPENDING"
ALL_SCOPES = tuple(
    json.loads((Path(__file__).parents[2] / "manifest.json").read_text())["oauth_config"]["scopes"][
        "bot"
    ]
)
BODIES = {
    "status": ("Bad gateway", "text/plain"),
    "page": ("<html>404 page not found</html>", "text/html"),
    "empty": ("", "application/json"),
}
"""Responses of proxies and emulators instead of Slack's JSON, with their content types."""


LOGIN_PAGE = "<!DOCTYPE html><html><head><title>Sign in | Slack</title></head></html>"


@dataclass
class Fault:
    """How the next call of a method fails. `lost`: it takes effect, but its response is lost."""

    kind: str  # none, limit, status, page, empty, hang, lost, error
    retry_after_s: int = 1
    status: int = 500
    code: str = ""


class FakeSlack:
    """One workspace: Ada, Bob and others, public and private channels, and direct messages."""

    host = "127.0.0.1"
    """The address that it listens on. In a network namespace of a test, another one."""

    triggers: dict[str, tuple[str, float]]
    """By trigger id, who clicked and when."""

    forms: dict[str, dict[str, Any]]
    """By user, the form that is open."""

    triggers_last_s = 3.0
    """https://docs.slack.dev/interactivity/handling-user-interaction"""

    def __init__(self) -> None:
        self.users: dict[str, dict[str, Any]] = {
            name: {"id": name, "team_id": TEAM, "profile": {"display_name": shown}}
            for name, shown in (("UADA", "Ada"), ("UBOB", "Bob"), ("UCARL", "Carl"))
        }
        self.users["UGUEST"] = {
            "id": "UGUEST",
            "team_id": TEAM,
            "is_restricted": True,
            "profile": {},
        }
        # Slack reports this user as a person.
        self.users["USLACKBOT"] = {
            "id": "USLACKBOT", "team_id": TEAM, "name": "slackbot", "is_bot": False,
            "profile": {"display_name": "Slackbot"},
        }  # fmt: skip
        self.users["UEXT"] = {"id": "UEXT", "team_id": "T2", "is_stranger": True, "profile": {}}
        self.channels: dict[str, dict[str, Any]] = {
            ROOM: channel_info(ROOM),
            SECRET_ROOM: channel_info(SECRET_ROOM, is_private=True),
            GROUP: channel_info(GROUP, is_private=True, is_mpim=True),
            SHARED_ROOM: channel_info(
                SHARED_ROOM, is_shared=True, is_ext_shared=True, shared_team_ids=[TEAM, "T2"]
            ),
            ORG_ROOM: channel_info(
                ORG_ROOM, is_shared=True, is_org_shared=True, shared_team_ids=[TEAM, "T9"]
            ),
            PENDING_ROOM: channel_info(
                PENDING_ROOM, is_pending_ext_shared=True, pending_connected_team_ids=["T2"]
            ),
        }
        self.member_of = set(self.channels)
        self.messages: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self.files: dict[str, tuple[str, bytes]] = {}
        self.files_url = ""
        """The base URL of files, if it is not this server's."""
        self.ephemerals: list[dict[str, Any]] = []
        self.triggers, self.forms = {}, {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        self.always: dict[str, Fault] = {}
        self.refuses: dict[tuple[str, str], str] = {}
        """Error codes by method and argument, or by method and kind of block (`blocks.actions`)."""
        self.takes_no: dict[str, str] = {}
        """Channels in which nobody can write, with the error code."""
        self.unknown: set[str] = set()
        self.scopes: set[str] | None = None
        self.manifest: dict[str, Any] = {}
        self.statuses: dict[tuple[str, str], str] = {}
        self.sessions: dict[tuple[str, str], str] = {}
        self.pings: list[str] = []
        self.unfurled: list[str] = []
        self.streams_expire_s = 300.0
        self.tokens = {BOT_TOKEN: (TEAM, BOT)}
        self.codes = {"the-code"}
        self.shared_files: dict[str, dict[str, Any]] = {}
        """The responses of `files.info`, by file id; None if the bot cannot open the file."""
        self.uploads: dict[str, bytes | int] = {}
        """Files of the bot by id: the announced length, then the contents."""
        self.says_scopes = True
        self.behind_s = 0.0
        """How old the timestamps of the next messages are."""
        self.sockets = Sockets()
        self.deliveries: list[Delivery] = []
        self.rng = random.Random(0)
        self.files_asked_for = 0
        self._files_flow = asyncio.Event()
        self._files_flow.set()
        self.changed = asyncio.Event()
        self.hook: Callable[[str, str], None] = lambda method, phase: None  # noqa: ARG005
        self._tasks: set[asyncio.Task[Any]] = set()
        self._last_ts = 0
        self._events = 0
        self._hanging = asyncio.Event()

    # --- start and stop --------------------------------------------------------------------------

    async def start(self, port: int = 0) -> "FakeSlack":
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/api/{method}", self._api)
        app.router.add_get("/link", self.sockets.connect)
        app.router.add_get("/files/{name}", self._file)
        app.router.add_post("/upload/{file}", self._upload)
        app.router.add_post("/control", self._control)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, port).start()
        self.port: int = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        self._hanging.set()
        self._files_flow.set()
        for task in self._tasks:
            task.cancel()
        for sock in tuple(self.sockets.live):
            await sock.ws.close()
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/api/"

    @property
    def env(self) -> dict[str, str]:
        """The settings that connect an adapter to this fake, over Socket Mode."""
        return {
            "SLACK_API_URL": self.url,
            "SLACK_BOT_TOKEN": BOT_TOKEN,
            "SLACK_APP_TOKEN": APP_TOKEN,
        }

    def new_ts(self) -> str:
        self._last_ts = max(self._last_ts + 1, int((time.time() - self.behind_s) * 1_000_000))
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    # --- the Web API -----------------------------------------------------------------------------

    async def _api(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        args = await _arguments(request)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        token = args.pop("token", token)
        self.calls.append((method, args))
        self._host = request.host  # perhaps a proxy, through which the connections then go, too
        fault = self.faults[method].popleft() if self.faults[method] else self.always.get(method)
        if fault is not None:
            if fault.kind == "limit":
                return web.json_response(
                    {"ok": False, "error": "ratelimited"}, status=429,
                    headers={"Retry-After": str(fault.retry_after_s)},
                )  # fmt: skip
            if fault.kind in BODIES:
                text, kind = BODIES[fault.kind]
                return web.Response(status=fault.status, text=text, content_type=kind)
            if fault.kind == "hang":
                await self._hanging.wait()
            if fault.kind == "error":
                return web.json_response({"ok": False, "error": fault.code})
        self.hook(method, "before")
        try:
            self._refuse(method, args)
            result = self._call(method, args, token)
        except Refusal as error:
            result = {"ok": False, "error": str(error)}
        self.hook(method, "after")
        self.changed.set()
        if fault is not None and fault.kind == "lost" and request.transport is not None:
            request.transport.abort()
        granted = {"X-OAuth-Scopes": ",".join(sorted(self.scopes or ALL_SCOPES))}
        return web.json_response(result, headers=granted if self.says_scopes else {})

    def _call(self, method: str, args: dict[str, Any], token: str) -> dict[str, Any]:
        name = "_" + method.replace(".", "_")
        call: Callable[[dict[str, Any]], dict[str, Any]] | None = getattr(self, name, None)
        if call is None or method in self.unknown:
            raise Refusal("unknown_method")
        if method == "apps.connections.open":
            if token != APP_TOKEN:
                raise Refusal("invalid_auth")
        elif token not in self.tokens and method != "oauth.v2.access":
            raise Refusal("invalid_auth" if token else "not_authed")
        self._need_scope(method, args)
        return {"ok": True, **call(args)}

    def _refuse(self, method: str, args: dict[str, Any]) -> None:
        given = {name for name, value in args.items() if value not in (None, "", [], {})}
        blocks = args.get("blocks") or []
        given |= {f"blocks.{block['type']}" for block in blocks}
        for (refusing, argument), code in self.refuses.items():
            if refusing == method and argument in given:
                raise Refusal(code)

    def _need_scope(self, method: str, args: dict[str, Any]) -> None:
        need = SCOPES.get(method)
        if self.scopes is None or need is None:
            return
        if need in ("history", "read"):
            channel = self.channels.get(args.get("channel", ""), {})
            kind = "groups" if channel.get("is_private") else "channels"
            kind = "im" if args.get("channel", "").startswith("D") else kind
            need = f"{'mpim' if channel.get('is_mpim') else kind}:{need}"
        if need not in self.scopes:
            raise Refusal("missing_scope")

    def _channel(self, args: dict[str, Any], key: str = "channel") -> str:
        channel = str(args.get(key) or "")
        if channel in self.users:
            channel = self.direct(channel)
        if channel not in self.channels:
            raise Refusal("channel_not_found")
        if self.channels[channel].get("is_archived"):
            raise Refusal("is_archived")
        if channel not in self.member_of:
            hidden = self.channels[channel].get("is_private") or channel.startswith("D")
            raise Refusal("channel_not_found" if hidden else "not_in_channel")
        return channel

    def _thread(self, channel: str, args: dict[str, Any]) -> str | None:
        thread = args.get("thread_ts")
        if not thread:
            return None
        root = self.messages[channel].get(str(thread))
        if root is None:
            raise Refusal("thread_not_found")
        if root.get("thread_ts") not in (None, thread):
            raise Refusal("invalid_thread_ts")
        return str(thread)

    def _own(self, channel: str, args: dict[str, Any], refusal: str) -> dict[str, Any]:
        message = self.messages[channel].get(str(args.get("ts")))
        if message is None:
            raise Refusal("message_not_found")
        if message.get("bot_id") != "BBOT":
            raise Refusal(refusal)
        return message

    def _look(self, args: dict[str, Any], *, stream: bool = False) -> None:
        """Records the people that a text notifies, and the links that Slack previews."""
        text = raw_texts(args)
        self.pings += PING.findall(text)
        if stream or args.get("unfurl_links") is not False:
            self.unfurled += LINK.findall(text)

    def _auth_test(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"team_id": TEAM, "team": "Test", "user_id": BOT, "bot_id": "BBOT", "user": "bot"}

    def _oauth_v2_access(self, args: dict[str, Any]) -> dict[str, Any]:
        if args.get("code") not in self.codes:
            raise Refusal("invalid_code")
        self.codes.discard(args["code"])
        self.tokens[BOT_TOKEN] = (TEAM, BOT)
        return {
            "access_token": BOT_TOKEN, "token_type": "bot", "scope": "chat:write",
            "bot_user_id": BOT, "app_id": "A1", "team": {"id": TEAM, "name": "Test"},
            "enterprise": None, "authed_user": {"id": "UADA"}, "is_enterprise_install": False,
        }  # fmt: skip

    def _bots_info(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"bot": {"id": "BBOT", "app_id": "A1"}}

    def _apps_manifest_export(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"manifest": self.manifest}

    def _apps_connections_open(self, _: dict[str, Any]) -> dict[str, Any]:
        ticket = self.new_ts()
        self.sockets.tickets.add(ticket)
        return {"url": f"ws://{self._host}/link?ticket={ticket}"}

    def _chat_postMessage(self, args: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        channel = self._channel(args)
        if channel in self.takes_no:
            raise Refusal(self.takes_no[channel])
        thread = self._thread(channel, args)
        check_message(args)
        self._look(args)
        ts = self.new_ts()
        self.messages[channel][ts] = {
            "type": "message", "ts": ts, "user": BOT, "bot_id": "BBOT", "thread_ts": thread,
            "text": args.get("text") or "", "blocks": args.get("blocks") or [],
            "metadata": args.get("metadata"),
        }  # fmt: skip
        return {"channel": channel, "ts": ts, "message": self.messages[channel][ts]}

    def _chat_update(self, args: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(args)
        message = self._own(channel, args, "cant_update_message")
        if self._is_streaming(message):
            raise Refusal("streaming_state_conflict")
        check_message(args, edit=True)
        # After an edit, Slack previews no links and notifies nobody. Both are recorded anyway.
        self._look({**args, "unfurl_links": False})
        message["text"] = args.get("text") or message["text"]
        if (
            args.get("blocks") is not None
        ):  # without new blocks, the old ones stay and hide the new text
            message["blocks"] = args["blocks"]
            message["streamed"] = ""
        if args.get("metadata") is not None:
            message["metadata"] = args["metadata"]
        message["edited"] = True
        return {"channel": channel, "ts": message["ts"], "text": message["text"]}

    def _chat_delete(self, args: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(args)
        message = self._own(channel, args, "cant_delete_message")
        del self.messages[channel][message["ts"]]
        return {"channel": channel, "ts": message["ts"]}

    def _chat_postEphemeral(self, args: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        channel = self._channel(args)
        if args.get("user") not in self.users:
            raise Refusal("user_not_in_channel")
        self._thread(channel, args)
        check_message(args)
        self._look(args)
        self.ephemerals.append({**args, "channel": channel})
        return {"message_ts": self.new_ts()}

    def _views_open(self, args: dict[str, Any]) -> dict[str, Any]:
        trigger = str(args.get("trigger_id") or "")
        opened_by, at = self.triggers.pop(trigger, ("", 0.0))
        if not opened_by:
            raise Refusal("invalid_trigger_id")  # also if it was used before
        if time.monotonic() - at > self.triggers_last_s:
            raise Refusal("expired_trigger_id")
        check_view(args["view"])
        view = {**args["view"], "id": f"V{self.new_ts()}", "hash": self.new_ts()}
        self.forms[opened_by] = view
        return {"view": view}

    def _is_streaming(self, message: dict[str, Any]) -> bool:
        if message.get("streaming") and time.monotonic() > message["streams_until"]:
            message["streaming"] = False
        return bool(message.get("streaming"))

    def _chat_startStream(self, args: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        channel = self._channel(args)
        if not args.get("thread_ts"):
            raise Refusal("invalid_arguments")
        thread = self._thread(channel, args)
        if not channel.startswith("D"):
            if not args.get("recipient_team_id"):
                raise Refusal("missing_recipient_team_id")
            if not args.get("recipient_user_id"):
                raise Refusal("missing_recipient_user_id")
        if args.get("metadata") or args.get("blocks"):
            raise Refusal("invalid_arguments")
        text = args.get("markdown_text") or ""
        if len(text) > MARKDOWN_LIMIT:
            raise Refusal("msg_too_long")
        self._look(args, stream=True)
        ts = self.new_ts()
        self.messages[channel][ts] = {
            "type": "message", "ts": ts, "user": BOT, "bot_id": "BBOT", "thread_ts": thread,
            "text": "", "streamed": text, "streaming": True, "blocks": [], "metadata": None,
            "streams_until": time.monotonic() + self.streams_expire_s,
        }  # fmt: skip
        self.sessions.setdefault((channel, str(thread)), "processing")
        return {"channel": channel, "ts": ts}

    def _append(self, channel: str, args: dict[str, Any]) -> dict[str, Any]:
        message = self._own(channel, args, "message_not_owned_by_app")
        if not self._is_streaming(message):
            raise Refusal("message_not_in_streaming_state")
        text = message["streamed"] + (args.get("markdown_text") or "")
        if len(text) > MARKDOWN_LIMIT:
            raise Refusal("msg_too_long")
        # Checks the whole text, because a token can be split between two pieces.
        self._look({"markdown_text": text}, stream=True)
        message["streamed"] = text
        return message

    def _chat_appendStream(self, args: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        channel = self._channel(args)
        if not args.get("markdown_text"):
            raise Refusal("no_text")
        message = self._append(channel, args)
        return {"channel": channel, "ts": message["ts"]}

    def _chat_stopStream(self, args: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        channel = self._channel(args)
        check_metadata(args.get("metadata"))
        if args.get("blocks"):
            check_message({"text": "x", "blocks": args["blocks"]})
        message = self._append(channel, args)
        message["streaming"] = False
        message["blocks"] = args.get("blocks") or []
        message["metadata"] = args.get("metadata")
        session = (channel, str(message["thread_ts"]))
        self.sessions[session] = args.get("session_status") or "active"
        return {"channel": channel, "ts": message["ts"]}

    def _agents_sessions_setStatus(self, args: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        channel = self._channel(args, "channel_id")
        thread = self._thread(channel, args)
        if args.get("status") not in ("processing", "active", "suspended", "closed"):
            raise Refusal("invalid_arguments")
        self.sessions[channel, str(thread)] = args["status"]
        return {}

    def _assistant_threads_setStatus(self, args: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        channel = self._channel(args, "channel_id")
        if not self._thread(channel, args):
            raise Refusal("invalid_thread_ts")
        messages = args.get("loading_messages") or []
        if "status" not in args or len(messages) > LOADING_LIMIT:
            raise Refusal("invalid_arguments")
        # An empty status removes the line. Otherwise the line shows the messages in turn.
        shown = messages[0] if messages and args["status"] else args["status"]
        self.statuses[channel, args["thread_ts"]] = shown
        return {}

    def _assistant_threads_setSuggestedPrompts(self, args: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        if not 0 < len(args.get("prompts") or []) <= 4:
            raise Refusal("invalid_arguments")
        return {}

    def _page(self, found: list[dict[str, Any]], args: dict[str, Any]) -> dict[str, Any]:
        oldest = str(args.get("oldest") or "0")
        found = [m for m in found if float(m["ts"]) > float(oldest) or m["ts"] == args.get("ts")]
        at, limit = int(args.get("cursor") or 0), int(args.get("limit") or 100)
        shown = [
            as_read(m, metadata=_true(args, "include_all_metadata")) for m in found[at : at + limit]
        ]
        cursor = str(at + limit) if at + limit < len(found) else ""
        return {
            "messages": json.loads(json.dumps(shown)),
            "has_more": bool(cursor),
            "response_metadata": {"next_cursor": cursor},
        }

    def _conversations_replies(self, args: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(args)
        root = self.messages[channel].get(str(args.get("ts")))
        if root is None:
            raise Refusal("thread_not_found")
        found = [root, *self._replies(channel, root["ts"])]
        return self._page(found, args)

    def _conversations_history(self, args: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(args)
        latest = float(args.get("latest") or "inf")
        inclusive = _true(args, "inclusive")
        found = [
            m for m in reversed(self._in_order(channel))
            if not m.get("thread_ts")
            and (float(m["ts"]) < latest or (inclusive and float(m["ts"]) == latest))
        ]  # fmt: skip
        return self._page(found, args)

    def _conversations_info(self, args: dict[str, Any]) -> dict[str, Any]:
        channel = self.channels.get(str(args.get("channel")))
        if channel is None:
            raise Refusal("channel_not_found")
        member = channel["id"] in self.member_of
        if not member and (channel.get("is_private") or channel.get("is_im")):
            raise Refusal("channel_not_found")
        return {"channel": {**channel, "is_member": member}}

    def _conversations_open(self, args: dict[str, Any]) -> dict[str, Any]:
        return {"channel": {"id": self.direct(str(args.get("users")))}}

    def _users_info(self, args: dict[str, Any]) -> dict[str, Any]:
        if args.get("user") not in self.users:
            raise Refusal("user_not_found")
        return {"user": self.users[args["user"]]}

    def _files_info(self, args: dict[str, Any]) -> dict[str, Any]:
        file = self.shared_files.get(str(args.get("file")))
        if file is None:
            raise Refusal("file_not_found")
        if file.get("mode") == "tombstone":
            raise Refusal("file_deleted")
        return {"file": file, "comments": [], "paging": {}}

    async def _file(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        known = self.scopes is None or "files:read" in self.scopes
        if token not in self.tokens or not known:
            return web.Response(text=LOGIN_PAGE, content_type="text/html")
        kind, data = self.files[request.match_info["name"]]
        self.files_asked_for += 1
        self.changed.set()
        await self._files_flow.wait()
        return web.Response(body=data, content_type=kind)

    def _files_getUploadURLExternal(self, args: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        length = str(args.get("length") or "")
        if not args.get("filename") or not length.isdecimal() or int(length) < 1:
            raise Refusal("invalid_arguments")
        file = f"FUP{len(self.uploads)}"
        self.uploads[file] = int(length)
        return {"upload_url": f"http://{self.host}:{self.port}/upload/{file}", "file_id": file}

    async def _upload(self, request: web.Request) -> web.Response:
        """Takes the bytes of a file: all that were announced, and without a token."""
        file, data = request.match_info["file"], await request.read()
        if self.uploads.get(file) != len(data):
            return web.Response(status=400, text="length")
        self.uploads[file] = data
        return web.Response(text=f"OK - {len(data)}")

    def _files_completeUploadExternal(self, args: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        files = args.get("files") or []
        files = json.loads(files) if isinstance(files, str) else files
        if not files or any(not isinstance(self.uploads.get(f["id"]), bytes) for f in files):
            raise Refusal("file_not_found")
        # Slack takes the id of a channel here, and not the id of a user.
        if args.get("channel_id") in self.users:
            raise Refusal("channel_not_found")
        channel = self._channel(args, "channel_id")
        if channel in self.takes_no:
            raise Refusal(self.takes_no[channel])
        ts = self.new_ts()
        self.messages[channel][ts] = {
            "type": "message", "ts": ts, "user": BOT, "bot_id": "BBOT", "blocks": [],
            "text": args.get("initial_comment") or "", "files": files,
        }  # fmt: skip
        return {"files": files}

    # --- actions of people -----------------------------------------------------------------------

    def direct(self, user: str) -> str:
        """Returns the direct message conversation of a user with the bot."""
        channel = f"D{user[1:]}"
        self.channels.setdefault(channel, {"id": channel, "is_im": True, "user": user})
        self.member_of.add(channel)
        return channel

    def between(self, one: str, other: str) -> str:
        """Returns the direct message conversation of two people, which the bot cannot see."""
        channel = f"D{one[1:]}{other[1:]}"
        self.channels.setdefault(channel, {"id": channel, "is_im": True, "user": other})
        return channel

    def share(self, channel: str, **flags: Any) -> None:
        """Shares a channel, or changes how it is shared."""
        self.channels[channel] |= {"is_shared": True, **flags}

    def spawn(self, *deliveries: Any) -> None:
        for one in deliveries:
            task = asyncio.ensure_future(one)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def deliver(self, event: dict[str, Any], **fields: Any) -> Delivery:
        """Delivers one event of the Events API until it is acknowledged or given up."""
        self._events += 1
        channel = self.channels.get(str(event.get("channel")), {})
        external = bool(channel.get("is_ext_shared"))
        fields = {"team_id": TEAM, "is_ext_shared_channel": external, **fields}
        body = {
            "type": "event_callback", "token": "x", "api_app_id": "A1", "event": event,
            "event_id": f"Ev{self._events}", "event_time": int(time.time()),
            "authorizations": [{"team_id": TEAM, "user_id": BOT, "is_bot": True}], **fields,
        }  # fmt: skip
        delivery = await self.sockets.deliver("events_api", body)
        self.deliveries.append(delivery)
        self.changed.set()
        return delivery

    def say(
        self,
        text: str,
        *,
        channel: str = ROOM,
        user: str = "UADA",
        thread: str | None = None,
        **fields: Any,
    ) -> str:
        """A person writes a message, without events for the app. Returns its ts."""
        ts = self.new_ts()
        message = {"type": "message", "ts": ts, "user": user, "text": text, **fields}
        if thread:
            message["thread_ts"] = thread
        self.messages[channel][ts] = message
        return ts

    def _channel_type(self, channel: str) -> str:
        kinds = {"is_im": "im", "is_mpim": "mpim", "is_private": "group"}
        known = self.channels[channel]
        return next((name for flag, name in kinds.items() if known.get(flag)), "channel")

    def events_of(self, channel: str, ts: str) -> list[dict[str, Any]]:
        """Returns the events for a message: two if it mentions the bot."""
        message = self.messages[channel][ts]
        event = {**message, "channel": channel, "event_ts": ts, "team": TEAM}
        event["client_msg_id"] = f"m-{ts}"
        events = [{**event, "channel_type": self._channel_type(channel)}]
        if f"<@{BOT}>" in message["text"] and not self.channels[channel].get("is_im"):
            events.append({**event, "type": "app_mention"})
            events[-1].pop("subtype", None)
        self.rng.shuffle(events)
        return events

    def send(self, text: str, **fields: Any) -> str:
        """A person writes a message, and the app gets its events. Returns its ts."""
        channel = fields.get("channel", ROOM)
        ts = self.say(text, **fields)
        self.spawn(*(self.deliver(event) for event in self.events_of(channel, ts)))
        return ts

    def mention(self, text: str, **fields: Any) -> str:
        return self.send(f"<@{BOT}> {text}", **fields)

    def dm(self, text: str, user: str = "UADA", **fields: Any) -> str:
        return self.send(text, channel=self.direct(user), user=user, **fields)

    def edit(self, channel: str, ts: str, text: str) -> None:
        """A person edits a message."""
        old = dict(self.messages[channel][ts])
        new = self.messages[channel][ts] = {
            **old,
            "text": text,
            "edited": {"user": old["user"], "ts": self.new_ts()},
        }
        self._changed(channel, "message_changed", message=new, previous_message=old)

    def delete(self, channel: str, ts: str) -> None:
        """A person deletes a message."""
        old = self.messages[channel].pop(ts)
        self._changed(channel, "message_deleted", previous_message=old, deleted_ts=ts)

    def _changed(self, channel: str, subtype: str, **fields: Any) -> None:
        ts = self.new_ts()
        event = {
            "type": "message",
            "subtype": subtype,
            "channel": channel,
            "ts": ts,
            "event_ts": ts,
            **fields,
        }
        event["channel_type"] = self._channel_type(channel)
        self.spawn(self.deliver(event))

    async def command(
        self, command: str, text: str = "", *, channel: str = ROOM, user: str = "UADA"
    ) -> Delivery:
        """A person types a slash command. Only that person can read the response."""
        payload = {
            "command": command, "text": text, "user_id": user, "user_name": user.lower(),
            "team_id": TEAM, "team_domain": "test", "channel_id": channel,
            "channel_name": "directmessage" if channel.startswith("D") else "x",
            "api_app_id": "A1", "is_enterprise_install": "false",
            "trigger_id": f"{self.new_ts()}.abc", "response_url": f"{self.url}response",
        }  # fmt: skip
        return await self.sockets.deliver("slash_commands", payload, again=False)

    async def click(self, channel: str, ts: str, label: str, *, user: str = "UADA") -> Delivery:
        """A person clicks the button with this label below a message."""
        message = self.messages[channel][ts]
        action: dict[str, Any] | None = None
        for block in message["blocks"]:
            for element in block.get("elements", []):
                for part in (
                    element,
                    element.get("positive_button"),
                    element.get("negative_button"),
                ):
                    if part and part.get("text", {}).get("text") == label:
                        action = {
                            "type": element["type"], "action_id": element["action_id"],
                            "value": part["value"], "action_ts": self.new_ts(), "block_id": "b",
                        }  # fmt: skip
        assert action is not None, f"no button {label!r}"
        trigger = self.new_ts()
        self.triggers[trigger] = (user, time.monotonic())
        payload = {
            "type": "block_actions", "api_app_id": "A1", "team": {"id": TEAM},
            "user": {"id": user, "team_id": TEAM}, "channel": {"id": channel},
            "container": {"type": "message", "message_ts": ts, "channel_id": channel,
                          "thread_ts": message.get("thread_ts"), "is_ephemeral": False},
            "message": message, "actions": [action], "trigger_id": trigger,
            "response_url": f"{self.url}response",
        }  # fmt: skip
        return await self.sockets.deliver("interactive", payload, again=False)

    async def submit(self, *, user: str = "UADA", **typed: str) -> Delivery:
        """A person sends the open form. It stays open if the app answers with errors."""
        view = self.forms[user]
        values: dict[str, Any] = {}
        for block in view["blocks"]:
            element, words = block["element"], typed.get(block["block_id"])
            assert len(words or "") <= element["max_length"], "Slack does not let people type more"
            values[block["block_id"]] = {
                element["action_id"]: {"type": element["type"], "value": words}
            }
        payload = {
            "type": "view_submission", "api_app_id": "A1", "team": {"id": TEAM},
            "user": {"id": user, "team_id": TEAM}, "trigger_id": self.new_ts(),
            "view": {**view, "state": {"values": values}},
        }  # fmt: skip
        delivery = await self.sockets.deliver("interactive", payload, again=False)
        if (delivery.response or {}).get("response_action") != "errors":
            del self.forms[user]
        return delivery

    def press_stop(self, channel: str, thread: str, *, user: str = "UADA") -> None:
        """A person presses Slack's own Stop button: Slack ends the streams and sends an event."""
        running = [m for m in self._replies(channel, thread) if self._is_streaming(m)]
        for message in running:
            message["streaming"] = False
        ts = self.new_ts()
        event = {"type": "agent_session_stopped", "channel": channel, "thread_ts": thread,
                 "user": user, "event_ts": ts, "streaming_message_ts": [m["ts"] for m in running],
        }  # fmt: skip
        self.spawn(self.deliver(event))

    def react(self, channel: str, ts: str, reaction: str, *, user: str = "UADA") -> None:
        """A person reacts to a message."""
        item = {"type": "message", "channel": channel, "ts": ts}
        event = {"type": "reaction_added", "user": user, "reaction": reaction, "item": item,
                 "item_user": self.messages[channel][ts]["user"], "event_ts": self.new_ts(),
        }  # fmt: skip
        self.spawn(self.deliver(event))

    def hold_files(self) -> None:
        """Holds all files back until `release_files`."""
        self._files_flow.clear()

    def release_files(self) -> None:
        self._files_flow.set()

    def file(self, name: str, kind: str, data: bytes, **fields: Any) -> dict[str, Any]:
        """Stores a file. Returns its object for a message's `files`."""
        self.files[name] = (kind, data)
        url = f"{self.files_url or f'http://{self.host}:{self.port}'}/files/{name}"
        return {"id": f"F{name}", "name": name, "mimetype": kind, "size": len(data),
                "mode": "hosted", "url_private": url, "url_private_download": url, **fields,
        }  # fmt: skip

    # --- what people see -------------------------------------------------------------------------

    def _in_order(self, channel: str) -> list[dict[str, Any]]:
        return sorted(self.messages[channel].values(), key=lambda m: float(m["ts"]))

    def _replies(self, channel: str, thread: str) -> list[dict[str, Any]]:
        return [
            m for m in self._in_order(channel) if m.get("thread_ts") == thread and m["ts"] != thread
        ]

    def bot_messages(self, channel: str, thread: str | None) -> list[dict[str, Any]]:
        """Returns the bot's messages in a thread, or at the top level of the channel."""
        found = self._replies(channel, thread) if thread else [
            m for m in self._in_order(channel) if not m.get("thread_ts")
        ]  # fmt: skip
        return [m for m in found if m.get("bot_id")]

    def thread(self, channel: str, thread: str | None) -> list[str]:
        """Returns the visible texts of the bot in a thread."""
        return [rendered(m) for m in self.bot_messages(channel, thread)]

    def buttons(self, channel: str, ts: str) -> list[str]:
        return labels(self.messages[channel][ts])

    def status(self, channel: str, thread: str) -> str:
        """Returns the status line below a thread, or "" if the bot is not working."""
        if self.sessions.get((channel, thread)) == "processing":
            return "processing"
        return self.statuses.get((channel, thread), "")

    def told(self, user: str) -> list[str]:
        """Returns the notices that only this user can read."""
        return [e["text"] for e in self.ephemerals if e["user"] == user]

    async def until(self, condition: Callable[[], Any], *, seconds: float = 20.0) -> Any:
        """Waits until the condition holds. It is checked after every change."""
        try:
            async with asyncio.timeout(seconds):
                while not (result := condition()):
                    self.changed.clear()
                    try:
                        async with asyncio.timeout(0.05):
                            await self.changed.wait()
                    except TimeoutError:
                        pass
                return result
        except TimeoutError:
            lately = [(m, str(a)[:200]) for m, a in self.calls[-8:]]
            raise AssertionError(
                f"condition not met within {seconds} s; last calls: {lately}"
            ) from None

    async def _control(self, request: web.Request) -> web.Response:
        """Calls a method above for another process: `{"do": "mention", "with": {...}}`."""
        order = await request.json()
        if order["do"].startswith("_"):
            return web.json_response({"error": "no"}, status=400)
        result = getattr(self, order["do"])(**order.get("with", {}))
        if inspect.isawaitable(result):
            result = await result
        return web.json_response({"result": result}, dumps=lambda x: json.dumps(x, default=str))


def _true(args: dict[str, Any], name: str) -> bool:
    return str(args.get(name)).lower() in ("1", "true")


async def _arguments(request: web.Request) -> dict[str, Any]:
    """Returns the arguments of a call. The SDK sends them in the query, as a form, or as JSON."""
    args: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        args |= await request.json()
    else:
        args |= {k: v for k, v in (await request.post()).items() if isinstance(v, str)}
    for name in ("blocks", "metadata", "prompts", "loading_messages", "view"):
        if isinstance(args.get(name), str):
            args[name] = json.loads(args[name])
    for name in ("unfurl_links", "unfurl_media"):
        if name in args:
            args[name] = _true(args, name)
    return args


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    slack = await FakeSlack().start(parser.parse_args().port)
    print(" ".join(f"{name}={value}" for name, value in slack.env.items()), flush=True)  # noqa: T201
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
