"""Copies of the flow with one safeguard taken out, to prove that the checks notice."""

from typing import Any

import pytest

from shared.bus import Bus
from shared.messages import Reply
from shared.receipts import Claim, Receipts


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


def without_receipts(patch: pytest.MonkeyPatch) -> None:
    """Nobody notes what is posted."""

    async def claim(_: Receipts, key: str) -> Claim:
        del key
        return Claim.NEW

    async def record(_: Receipts, key: str, receipt: str) -> None:
        del key, receipt

    patch.setattr(Receipts, "claim", claim)
    patch.setattr(Receipts, "record", record)
