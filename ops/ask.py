"""`threadwax ask`: one question by plain NATS request and reply, the answer on standard output.

Keeps nothing and knows no stream: it does what any NATS client can do.
"""

import asyncio
import contextlib
import io
import json
import os
import secrets
import signal
import sys
from typing import Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from pydantic import ValidationError

from bots.gateway.events import MESSAGE_ID, PLATFORM, prompt_id_of
from bots.terminal.sanitizing import sanitized
from shared import names
from shared.messages import Partial
from shared.nats_address import EMBEDDED, address_of, without_credentials
from shared.nats_client import NatsClient
from shared.settings import Settings

CONNECT_TIMEOUT_S: Final = 5
STILL_WAITING_S: Final = 15.0
"""After this long without an answer or a reason for the wait, it is said that we still wait."""

STILL_WAITING: Final = (
    "Still waiting for the answer. Ctrl-C gives up; `threadwax doctor` says what is missing."
)
ERROR_HEADER: Final = "Nats-Service-Error"
"""Where a NATS micro service puts its refusal."""

INTERRUPTED: Final = 130
"""A shell's exit code for a program that Ctrl-C ended: 128 + SIGINT."""


def main(settings: Settings, user: str, text: str, timeout_s: float) -> int:
    """Asks and prints; returns the exit code."""
    url = settings.bus_url()
    if url.startswith(EMBEDDED):
        return _failed(
            f"no NATS server runs on the data folder {settings.home}: start `threadwax up`, or set "
            "THREADWAX_HOME to the folder of the one that runs"
        )
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # Other servers let an asker hear its own inbox only.
    own_server = settings.nats_url is None
    # From here on Ctrl-C closes the connection, and is an exit code.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return asyncio.run(_ask(url, user, text, timeout_s, statuses=own_server))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the answer has gone; Python must not complain at its exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


async def _ask(url: str, user: str, text: str, timeout_s: float, *, statuses: bool = False) -> int:
    address = address_of(url)
    client = NatsClient(address, may_be_guest=True)
    # A guest hears only where clients hear by default; with credentials guests shall not hear us.
    inbox = "_INBOX" if address.is_anonymous else "_INBOX_ask"
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await client.connect(
                **address.options(),
                name="ask",
                inbox_prefix=inbox.encode(),
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                error_cb=_silent,
            )
    except (OSError, TimeoutError, nats.errors.Error):
        await client.close()
        return _failed(
            f"NATS at {without_credentials(url)} cannot be used: "
            "start `threadwax up`, or set NATS_URL"
        )
    question = json.dumps({"user_id": user, "prompt": text}, ensure_ascii=False).encode()
    watched = _Waiting(user) if sys.stderr and sys.stderr.isatty() else None
    try:
        if watched:
            await watched.begin(client, hears_statuses=statuses and inbox != "_INBOX")
        answer = await client.request(
            names.GATEWAY_SUBJECT,
            question,
            timeout=timeout_s,
            headers=watched.headers if watched else None,
        )
    except nats.errors.NoRespondersError:
        return _failed(
            f"nobody listens on {names.GATEWAY_SUBJECT}: start `threadwax up`, "
            "or `threadwax gateway` and `threadwax dataflow`"
        )
    except TimeoutError:
        return _failed(f"no answer within {timeout_s:g} s; `threadwax doctor` says what is missing")
    except nats.errors.Error as error:  # too long a question, a lost connection
        return _failed(f"NATS at {without_credentials(url)} did not take it: {error}")
    finally:
        if watched:
            watched.end()
        await client.close()
    if refusal := (answer.headers or {}).get(ERROR_HEADER):
        return _failed(refusal)
    print(sanitized(answer.data.decode(errors="replace")))  # noqa: T201  (it is what the person asked)
    return 0


class _Waiting:
    """Says on standard error why the answer to one question takes long."""

    def __init__(self, user: str) -> None:
        self.headers = {MESSAGE_ID: f"ask-{secrets.token_hex(8)}"}
        """Name the question, so that its statuses can be told from those of others."""
        self._user = user
        self._shown = ""
        self._timer: asyncio.TimerHandle | None = None

    async def begin(self, client: Client, *, hears_statuses: bool) -> None:
        """Listens for statuses if the server lets us; call it before the question is sent."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(STILL_WAITING_S, self._show, STILL_WAITING)
        if hears_statuses:
            with contextlib.suppress(names.BadName):  # the gateway says so in its answer
                user = names.user_of(PLATFORM, self._user)
                _, token = names.split_user(user)
                question = prompt_id_of(token, self.headers[MESSAGE_ID])
                await client.subscribe(names.partial_subject(user, question), cb=self._hear)

    async def _hear(self, message: Msg) -> None:
        with contextlib.suppress(ValidationError):
            if status := Partial.model_validate_json(message.data).status:
                self._show(status)
            self.end()

    def _show(self, text: str) -> None:
        if text != self._shown:
            self._shown = text
            print(sanitized(text), file=sys.stderr, flush=True)  # noqa: T201  (a person reads it)

    def end(self) -> None:
        """Ends the wait for a first sign of the answer."""
        if self._timer:
            self._timer.cancel()


async def _silent(_: Exception) -> None:
    """What goes wrong is reported once, by the exception."""


def _failed(message: str) -> int:
    print(sanitized(message), file=sys.stderr)  # noqa: T201  (it is what the person reads)
    return 1
