"""Copies of the flow with one safeguard taken out, to prove that the checks notice."""

from typing import Any

from shared.bus import Bus
from shared.messages import Reply


async def _publish_only(self: Bus, reply: Reply) -> Reply:
    from shared import names  # noqa: PLC0415

    subject = names.reply_subject(reply.user, reply.prompt_id)
    await self.until_done(lambda: self.js.publish(subject, reply.wire()))
    return reply


async def _nothing_stored(*_: Any) -> None:
    return None


def run_without_journal() -> int:
    """The flow as the tutorial has it: a reply is sent, and nobody asks whether one was before."""
    from dataflow.run import main  # noqa: PLC0415
    from shared.settings import Settings  # noqa: PLC0415

    Bus.journal = _publish_only  # type: ignore[method-assign]
    Bus.stored_reply = _nothing_stored  # type: ignore[method-assign,assignment]
    return main(Settings())
