"""What `threadwax doctor` finds about the gateway."""

from typing import Final

import nats.errors
from nats.aio.client import NO_RESPONDERS_STATUS
from nats.js.api import Header

from ops.finding import CheckContext, Finding
from shared import names

ANSWER_TIMEOUT_S: Final = 2.0


async def gateway(context: CheckContext) -> list[Finding]:
    """Checks that the gateway listens for plain requests."""
    if context.bus is None:
        return []
    client = context.bus.client
    # A plain client's inbox: deploy/nats-server.conf keeps the gateway out of those of roles.
    inbox = f"{names.INBOX_PREFIX}.{client.new_inbox().rpartition('.')[2]}"
    answers = await client.subscribe(inbox, max_msgs=1)
    try:
        await client.publish("$SRV.PING", reply=inbox)
        answer = await answers.next_msg(timeout=ANSWER_TIMEOUT_S)
    except (nats.errors.Error, TimeoutError):
        return [Finding("warn", "gateway", "does not answer", "read its log, and restart it")]
    if (answer.headers or {}).get(Header.STATUS) == NO_RESPONDERS_STATUS:
        text = f"nobody listens on `{names.GATEWAY_SUBJECT}`"
        advice = "start `threadwax up` or `threadwax gateway`; other adapters do not need it"
        return [Finding("warn", "gateway", text, advice)]
    return [Finding("ok", "gateway", f"listens on `{names.GATEWAY_SUBJECT}`")]
