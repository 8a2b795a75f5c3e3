"""Reads a reply that the server delivered; one that cannot be read becomes a dead letter."""

from nats.aio.msg import Msg
from pydantic import ValidationError

from shared import names
from shared.bus import Bus
from shared.replies import Reply


async def read_reply(bus: Bus, message: Msg) -> Reply | None:
    """The reply in a message; None if this version cannot read it, after it was set aside."""
    try:
        return Reply.model_validate_json(message.data)
    except ValidationError:
        await bus.dead_letter(
            subject=message.subject,
            data=message.data,
            reason="not a reply that this version can read",
            dedupe_id=f"{names.REPLIES}-{message.metadata.sequence.stream}",
        )
        await message.ack()
        return None
