"""Requests on plain NATS, as the gateway's users make them while processes are killed."""

import nats.errors
from nats.aio.client import Client

from bots.gateway.messages import ERROR_HEADER
from shared import names


async def asked(client: Client, request: bytes, marker: str, within_s: float) -> str | None:
    """The answer to a request; None if there is none yet, and it is to be repeated.

    `marker`: its id, which every repeat has.
    """
    headers = {"Nats-Msg-Id": marker}
    try:
        answer = await client.request(
            names.GATEWAY_SUBJECT, request, timeout=within_s, headers=headers
        )
    except (nats.errors.Error, TimeoutError, OSError):
        return None
    refused = (answer.headers or {}).get(ERROR_HEADER) and not answer.data
    return None if refused else answer.data.decode()


async def ignore(_: Exception) -> None:
    """Takes what a client reports: a lost connection makes its requests fail."""
