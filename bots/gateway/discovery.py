"""Answers PING, INFO and STATS of the `nats` command, as NATS micro services do (ADR-32).

It must never answer to a subject that is not an inbox. nats-py's own `nats.micro` answers to any
reply subject, so a client could have it publish where only this process is allowed to.
"""

import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final

from nats.aio.msg import Msg

from bots.gateway.events import is_inbox
from shared import names
from shared.bus import Bus

SERVICE: Final = "threadwax-gateway"
_TYPE: Final = "io.nats.micro.v1."


async def answer_discovery(
    bus: Bus, queue_group: str, counts: Callable[[], tuple[int, int]]
) -> None:
    """Answers while the bus is open; `counts` returns requests received and refused."""
    started = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    own = {
        "name": SERVICE,
        "id": secrets.token_hex(11),
        "version": version("threadwax"),
        "metadata": {},
    }
    endpoint = {
        "name": names.GATEWAY_SUBJECT,
        "subject": names.GATEWAY_SUBJECT,
        "queue_group": queue_group,
    }

    def info() -> dict[str, Any]:
        return {
            "description": 'Ask with {"user_id": "...", "prompt": "..."}; the answer is text.',
            "endpoints": [{**endpoint, "metadata": {}}],
        }

    def stats() -> dict[str, Any]:
        requests, errors = counts()
        figures = {"num_requests": requests, "num_errors": errors, "last_error": ""}
        times = {"processing_time": 0, "average_processing_time": 0}
        return {"started": started, "endpoints": [{**endpoint, **figures, **times}]}

    def ping() -> dict[str, Any]:
        return {}

    for verb, details in (("ping", ping), ("info", info), ("stats", stats)):
        await _answer(bus, verb, own, details)


async def _answer(
    bus: Bus, verb: str, own: dict[str, Any], details: Callable[[], dict[str, Any]]
) -> None:
    async def answer(message: Msg) -> None:
        if is_inbox(message.reply):
            body = {"type": f"{_TYPE}{verb}_response", **own, **details()}
            await bus.client.publish(message.reply, json.dumps(body).encode())

    subject = f"$SRV.{verb.upper()}"
    for name in (subject, f"{subject}.{SERVICE}", f"{subject}.{SERVICE}.{own['id']}"):
        await bus.client.subscribe(name, cb=answer)
