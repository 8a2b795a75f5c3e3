"""Turns a plain NATS request into an event, or refuses it in plain words.

Pure. A request must never decide where anything is published, apart from the client's own inbox,
and no guest may pass for a user with credentials.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from shared import names, user_names
from shared.messages import TEXT_LIMIT_CHARS, Ask, Place
from shared.text import repaired

PLATFORM: Final = "gateway"

GUEST_PREFIX: Final = "guest/"
"""Starts the name of every user without credentials; no other name is allowed to start with it."""

BAD_REQUEST: Final = "400"
TOO_LARGE: Final = "413"
TOO_MANY: Final = "429"
UNAVAILABLE: Final = "503"
"""HTTP status codes, as NATS micro services use them."""

MESSAGE_ID: Final = "Nats-Msg-Id"

REQUEST_LIMIT_BYTES: Final = 512_000
"""More than the longest prompt takes as JSON, unless most of it is escaped."""

GUEST_LIMIT_BYTES: Final = 64_000
"""Parsing a request takes processor time, and a guest's user_id says nothing about who asks."""

_ID_CHARS: Final = 200
"""The longest prompt id, as in `messages.PromptId`."""

_INBOX: Final = re.compile(rf"{names.INBOX_PREFIX}[A-Za-z0-9_-]*(?:\.[^\s.*>]+)+")
"""The only subjects that an answer may go to.

The server does not check reply subjects: another one could belong to a stream or to the server
itself, and we may publish there although the client may not.
"""

_GUESTS_INBOX: Final = re.compile(r"_R_(?:\.[A-Za-z0-9]+)+")
"""The server uses these to deliver an answer to another account; no client can use one itself."""

_GUESTS_TOKEN: Final = user_names.encoded(GUEST_PREFIX)


class Refused(Exception):
    """The request is refused: tell the client why, with this code."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def is_inbox(subject: str, *, guest: bool = False) -> bool:
    """Whether an answer may be published there; for a guest, the server names the inbox."""
    return (_GUESTS_INBOX if guest else _INBOX).fullmatch(subject) is not None


def is_guest(user: str) -> bool:
    """Whether a user of the gateway has no credentials."""
    return user.startswith(f"{PLATFORM}:{_GUESTS_TOKEN}")


def ask_of(
    data: bytes,
    headers: Mapping[str, str],
    inbox: str,
    *,
    guest: bool,
    now: datetime,
    fresh_id: str,
) -> Ask:
    """The question in a request; `fresh_id` identifies it if the client sent no `Nats-Msg-Id`.

    `guest`: the client has no credentials and so becomes a user with the guest prefix.

    Raises:
        Refused: with the reason in words for the client.
    """
    body = _body(data, GUEST_LIMIT_BYTES if guest else REQUEST_LIMIT_BYTES)
    name = _user_id(body)
    if guest:
        name = GUEST_PREFIX + name
    elif name.startswith(GUEST_PREFIX):
        raise Refused(
            BAD_REQUEST,
            f'user_id must not begin with "{GUEST_PREFIX}": it marks clients without credentials',
        )
    text = _prompt(body)
    try:
        user = user_names.user_of(PLATFORM, name)
    except user_names.BadName as error:
        raise Refused(BAD_REQUEST, f"user_id cannot be used: {error}") from error
    _, token = user_names.split_user(user)
    return Ask(
        id=prompt_id_of(token, headers.get(MESSAGE_ID) or fresh_id),
        user=user,
        place=Place(platform=PLATFORM, channel=token, audience="direct"),
        address={"inbox": inbox},
        said_at=now,
        text=text,
    )


class _Body(BaseModel):
    """The fields of a request that are used; the parser skips all others."""

    user_id: Any = None
    prompt: Any = None


def _body(data: bytes, limit_bytes: int) -> _Body:
    if len(data) > limit_bytes:
        raise Refused(
            TOO_LARGE, f"the request has {len(data):,} bytes; at most {limit_bytes:,} are allowed"
        )
    try:
        return _Body.model_validate_json(data)
    except ValidationError as error:
        if error.errors(include_input=False, include_url=False)[0]["type"] != "json_invalid":
            raise Refused(
                BAD_REQUEST, "the request is not a JSON object with user_id and prompt"
            ) from error
    # Pydantic refuses half of a surrogate pair, for example; Python accepts it, and we repair it.
    try:
        return _Body.model_validate(json.loads(data.decode()))
    except UnicodeDecodeError as error:
        raise Refused(BAD_REQUEST, "the request is not valid UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise Refused(
            BAD_REQUEST, 'the request is not JSON; send {"user_id": "...", "prompt": "..."}'
        ) from error


def _user_id(body: _Body) -> str:
    value = body.user_id
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise Refused(BAD_REQUEST, "user_id is missing or not text")
    if not value.strip():
        raise Refused(BAD_REQUEST, "user_id is empty")
    return value


def _prompt(body: _Body) -> str:
    value = body.prompt
    if not isinstance(value, str):
        raise Refused(BAD_REQUEST, "prompt is missing or not text")
    value = repaired(value)  # JSON can escape half of a surrogate pair
    if not value.strip():
        raise Refused(BAD_REQUEST, "prompt is empty")
    if len(value) > TEXT_LIMIT_CHARS:
        raise Refused(
            TOO_LARGE,
            f"prompt has {len(value):,} characters; at most {TEXT_LIMIT_CHARS:,} are allowed",
        )
    return value


def prompt_id_of(token: str, message_id: str) -> str:
    """The id of a question with this `Nats-Msg-Id`, different for each user."""
    try:
        readable = f"{PLATFORM}-{token}-{user_names.encoded(message_id)}"
    except user_names.BadName:
        readable = ""
    # With a hyphen in the token, user `a-b` with id `c` would collide with user `a` and id `b-c`.
    if readable and len(readable) <= _ID_CHARS and "-" not in token:
        return readable
    whole = json.dumps([token, message_id])
    return f"{PLATFORM}-{hashlib.sha256(whole.encode()).hexdigest()}"
