"""`threadwax ask`: one question by plain NATS request and reply, the answer on standard output.

Keeps nothing and knows no stream: it does what any NATS client can do.
"""

import asyncio
import json
import sys
from typing import Final

import nats.errors
from nats.aio.client import Client

from shared import names
from shared.nats_address import EMBEDDED, address_of, without_credentials
from shared.settings import Settings

CONNECT_TIMEOUT_S: Final = 5
ERROR_HEADER: Final = "Nats-Service-Error"
"""Where a NATS micro service puts its refusal."""


def main(settings: Settings, user: str, text: str, timeout_s: float) -> int:
    """Asks and prints; returns the exit code."""
    url = settings.bus_url()
    if url.startswith(EMBEDDED):
        return _failed(
            f"no NATS server runs on the data folder {settings.home}: start `threadwax up`, or set "
            "THREADWAX_HOME to the folder of the one that runs"
        )
    return asyncio.run(_ask(url, user, text, timeout_s))


async def _ask(url: str, user: str, text: str, timeout_s: float) -> int:
    address = address_of(url)
    client = Client()
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
    try:
        answer = await client.request(names.GATEWAY_SUBJECT, question, timeout=timeout_s)
    except nats.errors.NoRespondersError:
        return _failed(
            f"nobody listens on {names.GATEWAY_SUBJECT}: start `threadwax up`, "
            "or `threadwax gateway` and `threadwax dataflow`"
        )
    except TimeoutError:
        return _failed(f"no answer within {timeout_s:g} s; `threadwax doctor` tells why")
    except nats.errors.Error as error:  # too long a question, a lost connection
        return _failed(f"NATS at {without_credentials(url)} did not take it: {error}")
    finally:
        await client.close()
    if refusal := (answer.headers or {}).get(ERROR_HEADER):
        return _failed(refusal)
    sys.stdout.write(answer.data.decode(errors="replace") + "\n")
    return 0


async def _silent(_: Exception) -> None:
    """What goes wrong is told once, by the exception."""


def _failed(message: str) -> int:
    sys.stderr.write(message + "\n")
    return 1
