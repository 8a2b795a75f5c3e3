"""`threadwax ask`: asks one question with a plain NATS request, and prints the answer.

Uses no stream and stores nothing: any NATS client can do the same.
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
from shared import names, user_names
from shared.nats_address import EMBEDDED, address_of, without_credentials
from shared.nats_client import NatsClient
from shared.nats_errors import fault_of
from shared.replies import Partial
from shared.settings import Settings

CONNECT_TIMEOUT_S: Final = 5
STILL_WAITING_S: Final = 15.0
"""After this time without an answer or a status, `STILL_WAITING` is shown."""

STILL_WAITING: Final = (
    "Still waiting for the answer. Ctrl-C gives up; `threadwax doctor` shows what is wrong."
)
ERROR_HEADER: Final = "Nats-Service-Error"
"""The header in which a NATS micro service reports an error."""

INTERRUPTED: Final = 130
"""The exit code of shells for a program that Ctrl-C ended: 128 + SIGINT."""


def main(settings: Settings, user: str, text: str, timeout_s: float) -> int:
    """Asks the question and prints the answer; returns the exit code."""
    url = settings.bus_url()
    if url.startswith(EMBEDDED):
        return _failed(
            f"no NATS server is running on the data folder {settings.home}: start `threadwax up`, "
            "or set THREADWAX_HOME to the data folder of the running one"
        )
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # On other servers, the role of `ask` can subscribe to its inbox only.
    own_server = settings.nats_url is None
    # From here on, Ctrl-C closes the connection and sets the exit code.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return asyncio.run(_ask(url, user, text, timeout_s, statuses=own_server))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output is gone; keep Python from reporting this again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


async def _ask(url: str, user: str, text: str, timeout_s: float, *, statuses: bool = False) -> int:
    address = address_of(url)
    client = NatsClient(address, may_be_guest=True)
    # Guests can use the default prefix only; others use one that guests cannot subscribe to.
    inbox = "_INBOX" if address.is_anonymous else "_INBOX_ask"
    errors: list[Exception] = []

    async def failed(error: Exception) -> None:
        errors.append(error)  # the client raises only that no server can be used

    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await client.connect(
                **address.options(),
                name="ask",
                inbox_prefix=inbox.encode(),
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                error_cb=failed,
            )
    except (OSError, TimeoutError, nats.errors.Error) as error:
        await client.close()
        fault = fault_of(errors[-1] if errors else error, address)
        where = without_credentials(url)
        return _failed(f"NATS at {where} cannot be used: {fault.why}. {fault.remedy}")
    question = json.dumps({"user_id": user, "prompt": text}, ensure_ascii=False).encode()
    status_line = _StatusLine(user) if sys.stderr and sys.stderr.isatty() else None
    try:
        if status_line:
            await status_line.begin(client, hears_statuses=statuses and inbox != "_INBOX")
        answer = await client.request(
            names.GATEWAY_SUBJECT,
            question,
            timeout=timeout_s,
            headers=status_line.headers if status_line else None,
        )
    except nats.errors.NoRespondersError:
        return _failed(
            f"nobody listens on {names.GATEWAY_SUBJECT}: start `threadwax up`, "
            "or `threadwax gateway` and `threadwax dataflow`"
        )
    except TimeoutError:
        return _failed(f"no answer within {timeout_s:g} s; `threadwax doctor` shows what is wrong")
    except nats.errors.Error as error:  # the question is too long, or the connection was lost
        return _failed(f"NATS at {without_credentials(url)} did not accept the question: {error}")
    finally:
        if status_line:
            status_line.end()
        await client.close()
    if refusal := (answer.headers or {}).get(ERROR_HEADER):
        return _failed(refusal)
    print(sanitized(answer.data.decode(errors="replace")))  # noqa: T201  (the answer)
    return 0


class _StatusLine:
    """Shows on standard error why an answer takes long."""

    def __init__(self, user: str) -> None:
        self.headers = {MESSAGE_ID: f"ask-{secrets.token_hex(8)}"}
        """Give the question an id, by which its statuses are recognized."""
        self._user = user
        self._shown = ""
        self._timer: asyncio.TimerHandle | None = None

    async def begin(self, client: Client, *, hears_statuses: bool) -> None:
        """Subscribes to statuses, if the server allows it; call it before sending the question."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(STILL_WAITING_S, self._show, STILL_WAITING)
        if hears_statuses:
            with contextlib.suppress(user_names.BadName):  # the gateway reports it in its answer
                user = user_names.user_of(PLATFORM, self._user)
                _, token = user_names.split_user(user)
                question = prompt_id_of(token, self.headers[MESSAGE_ID])
                await client.subscribe(names.partial_subject(user, question), cb=self._on_status)

    async def _on_status(self, message: Msg) -> None:
        with contextlib.suppress(ValidationError):
            if status := Partial.model_validate_json(message.data).status:
                self._show(status)
            self.end()

    def _show(self, text: str) -> None:
        if text != self._shown:
            self._shown = text
            print(sanitized(text), file=sys.stderr, flush=True)  # noqa: T201  (for people)

    def end(self) -> None:
        """Stops the timer of `STILL_WAITING`."""
        if self._timer:
            self._timer.cancel()


def _failed(message: str) -> int:
    print(sanitized(message), file=sys.stderr)  # noqa: T201  (for people)
    return 1
