"""The fake Discord's refusals: error codes, rate limits, and faults that a test requests."""

import asyncio
import re
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web

CONTENT_LIMIT = 2000
NONCE_LIMIT = 25
CUSTOM_ID_LIMIT = 100
LABEL_LIMIT = 80
ROW_LIMIT = 5
GLOBAL_PER_S = 50


TITLE_LIMIT = 45
INPUT_LIMIT = 4000
MODAL_SUBMIT = 5
"""The type of an interaction that brings a form."""


class Refused(Exception):
    """A response with an error code."""

    def __init__(self, status: int, code: int, message: str, fields: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {"message": message, "code": code}
        if fields:
            self.body["errors"] = errors_in(fields)


def errors_in(fields: tuple[str, ...]) -> dict[str, Any]:
    """Returns the details of an "invalid form body" error."""
    error = {"_errors": [{"code": "BASE_TYPE_INVALID", "message": "Refused."}]}
    return dict.fromkeys(fields, error)


def checked_form(form: dict[str, Any]) -> dict[str, Any]:
    """Returns a form that Discord accepts.

    https://docs.discord.com/developers/interactions/receiving-and-responding,
    https://docs.discord.com/developers/components/reference

    Raises:
        Refused: Discord does not accept it.
    """
    inputs = [one for row in form.get("components", []) for one in row.get("components", [])]
    wrong = [
        not 1 <= len(form.get("title", "")) <= TITLE_LIMIT,
        not 1 <= len(form.get("custom_id", "")) <= CUSTOM_ID_LIMIT,
        not 1 <= len(form.get("components", [])) <= ROW_LIMIT,
        any(row.get("type") != 1 or len(row["components"]) != 1 for row in form["components"]),
    ]
    for one in inputs:
        wrong += [
            one.get("type") != 4 or one.get("style") not in {1, 2},
            not 1 <= len(one.get("label", "")) <= TITLE_LIMIT,
            not 1 <= len(one.get("custom_id", "")) <= CUSTOM_ID_LIMIT,
            not 1 <= one.get("max_length", 1) <= INPUT_LIMIT,
        ]
    if any(wrong):
        raise Refused(400, 50035, "Invalid Form Body", ("data",))
    return form


@dataclass
class FieldRefused:
    """Refuses every message with this key. With `named`, the error names the key."""

    key: str
    status: int
    code: int
    named: bool = True

    def check(self, body: dict[str, Any]) -> None:
        if body.get(self.key):
            fields = (self.key,) if self.named else ()
            raise Refused(self.status, self.code, "as ordered", fields)


@dataclass
class Fault:
    """A failure of the next matching request.

    `status`: an error. `hang`: no response. `lost`: it takes effect, but the connection is cut
    before the response. `reset`: the connection is cut before it takes effect.
    """

    method: str
    path: str
    kind: Literal["status", "hang", "lost", "reset"] = "status"
    status: int = 500
    code: int = 0
    retry_after: Any = 0.0
    is_global: bool = False
    via: bool = True
    times: int = 1
    fields: tuple[str, ...] = ()
    """The fields that an "invalid form body" error names."""
    page: bool = False
    """The response is the HTML page of a proxy."""

    def matches(self, request: web.Request) -> bool:
        return request.method == self.method and re.search(self.path, request.path) is not None

    async def instead(self, request: web.Request) -> web.Response | None:
        if self.kind == "hang":
            await asyncio.sleep(3600)
        if self.kind == "reset" and request.transport is not None:
            request.transport.abort()
            raise ConnectionResetError
        if self.kind != "status":
            return None
        if self.page:
            return web.Response(text="<html>denied</html>", content_type="text/html",
                                status=self.status)  # fmt: skip
        body: dict[str, Any] = {"message": "as ordered", "code": self.code}
        headers = {"Via": "1.1 google"} if self.via else {}
        if self.fields:
            body["errors"] = errors_in(self.fields)
        if self.status == 429:
            body |= {"retry_after": self.retry_after, "global": self.is_global}
        return answer(body, self.status, headers)


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Returns a JSON response as Discord sends it: without a charset in its content type."""
    import json  # noqa: PLC0415

    response = web.Response(body=json.dumps(body).encode(), status=status, headers=headers)
    response.headers["Content-Type"] = "application/json"
    return response


class Limits:
    """Buckets per route and channel, and the global limit. Tests can change all numbers."""

    def __init__(self) -> None:
        self.bucket = 5
        self.window_s = 1.0
        self._used: dict[tuple[str, str], deque[float]] = {}
        self._all: deque[float] = deque()

    def take(self, method: str, route: str, major: str) -> tuple[dict[str, str], float]:
        """Returns the headers for this request, and the time to wait if it comes too early."""
        now = time.monotonic()
        used = self._used.setdefault((f"{method} {route}", major), deque())
        while used and now - used[0] >= self.window_s:
            used.popleft()
        over = len(used) >= self.bucket
        wait_s = self.window_s - (now - used[0]) if over else 0.0
        if not over:
            used.append(now)
        reset = self.window_s - (now - used[0])
        headers = {
            "X-RateLimit-Limit": str(self.bucket),
            "X-RateLimit-Remaining": str(self.bucket - len(used)),
            "X-RateLimit-Reset-After": f"{reset:.3f}",
            "X-RateLimit-Reset": f"{time.time() + reset:.3f}",
            "X-RateLimit-Bucket": f"{abs(hash((method, route))):x}",
        }
        return headers, wait_s

    def take_global(self) -> float:
        now = time.monotonic()
        while self._all and now - self._all[0] >= 1:
            self._all.popleft()
        if len(self._all) >= GLOBAL_PER_S:
            return 1 - (now - self._all[0])
        self._all.append(now)
        return 0.0


def check_message(body: dict[str, Any], *, new: bool) -> str:
    """Checks a message. Returns its content as Discord stores it: trimmed.

    Raises:
        Refused: Discord would not accept the message.
    """
    content = (body.get("content") or "").strip()
    if new and not content and not body.get("embeds"):
        raise Refused(400, 50006, "Cannot send an empty message")
    if len(content.encode("utf-16-le")) // 2 > CONTENT_LIMIT:
        raise Refused(400, 50035, "Invalid Form Body: content must be 2000 or fewer in length.")
    nonce = body.get("nonce")
    if nonce is not None and len(str(nonce)) > NONCE_LIMIT:
        raise Refused(400, 50035, "Invalid Form Body: nonce must be 25 or fewer in length.")
    seen = set()
    for row in body.get("components") or ():
        if len(row["components"]) > ROW_LIMIT or not row["components"]:
            raise Refused(400, 50035, "Invalid Form Body: 1 to 5 buttons in a row.")
        for button in row["components"]:
            identity = button.get("custom_id", "")
            if not 1 <= len(identity) <= CUSTOM_ID_LIMIT or identity in seen:
                raise Refused(400, 50035, "Invalid Form Body: custom_id")
            if len(button.get("label") or "") > LABEL_LIMIT:
                raise Refused(400, 50035, "Invalid Form Body: label")
            if not button.get("label") and not button.get("emoji"):
                raise Refused(400, 50035, "Invalid Form Body: a button needs a label or an emoji")
            seen.add(identity)
    return content
