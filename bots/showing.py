"""Shows one reply: claims each of its parts, posts them, and finishes its receipts.

Platform-neutral. It returns only once nothing of the reply is left to be shown.
"""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

from bots.claims import Claims, TakenOver
from bots.giving import Giving
from bots.part_poster import NOT_SHOWABLE, PartOutcome, PartPoster
from bots.parts import parts_of
from bots.peers import NewsKind
from bots.platform import ChatPlatform, Part
from bots.preview import Previews
from bots.thread_order import Delivery
from shared import metrics, tracing
from shared.log import logger
from shared.receipts import SHOWN, Claim, Posted, Receipts
from shared.replies import Reply

DEFECTS_LIMIT: Final = 3
"""After this many defects with one reply its person gets a notice instead.

After as many with the notice, the reply becomes a dead letter.
"""

STOPPED: Final = "(stopped)"

Tell = Callable[[NewsKind, str], Awaitable[None]]
"""Tells the other processes of this platform what happens to the reply to a prompt id."""


class Showing:
    """Shows replies, each one in the task of its thread."""

    def __init__(
        self,
        platform: ChatPlatform,
        *,
        receipts: Receipts,
        claims: Claims,
        parts: PartPoster,
        previews: Previews,
        giving: Giving,
        tell: Tell,
    ) -> None:
        self._platform = platform
        self._receipts = receipts
        self._claims = claims
        self._parts = parts
        self._previews = previews
        self._giving = giving
        self._tell = tell

    async def show(self, delivery: Delivery, *, defects: int) -> None:
        """Returns when the reply is finished: all parts have receipts, or it is a dead letter.

        `defects`: how often that has failed because of a defect.

        Raises:
            TakenOver: another process of this platform does that.
        """
        with tracing.showing(delivery.reply, delivery.message.headers) as span:
            try:
                await self._show(delivery, span, defects)
            except TakenOver:
                span.set("threadwax.handed_over", "true")
                span.end()  # no failure
                raise

    async def _show(self, delivery: Delivery, span: tracing.Span, defects: int) -> None:
        started, reply = time.monotonic(), delivery.reply
        previewed = await self._previews.finish(reply.prompt_id)
        await self._giving.unless_reached(reply.prompt_id)
        claim: Claim | Posted = Claim.NEW
        if not previewed:
            first = f"{reply.prompt_id}.0"
            claim = await self._claims.claim_or_hand_over(first, delivery.message)
        await self._tell("showing", reply.prompt_id)
        if reply.outcome == "withdrawn":
            # Claimed, so that a late partial cannot open a preview in the next process.
            if reply.erased is None:  # otherwise it is an operator's, and was never shown anywhere
                await self._platform.withdraw(reply)
            await self._receipts.finish(reply.prompt_id)
            return
        if isinstance(claim, Posted) and claim.finished:
            metrics.posted_before.labels(self._platform.name).inc()
            span.stored(new=False)
            return
        pieces = await self._pieces(reply, defects)
        span.set("threadwax.parts", len(pieces))
        notice_shown = False
        for index, piece in enumerate(pieces):
            part = Part(reply, piece, index, len(pieces))
            if index:
                claim = await self._claims.claim_or_hand_over(part.key, delivery.message)
            outcome = await self._parts.post(part, claim, notice_shown=notice_shown)
            if outcome is PartOutcome.GIVEN_UP:
                span.fail("given up")
                return
            notice_shown = notice_shown or outcome is PartOutcome.REFUSED
        if len(pieces) > 1:
            await self._receipts.finish(reply.prompt_id, SHOWN)
        if reply.timings is not None:  # commands and notices are not what people wait for
            took_s = (datetime.now(UTC) - reply.said_at).total_seconds()
            metrics.reply_s.labels(self._platform.name).observe(max(0.0, took_s))
        logger().info(
            "posted",
            prompt=reply.prompt_id,
            parts=len(pieces),
            took_ms=round((time.monotonic() - started) * 1000),
        )

    async def _pieces(self, reply: Reply, defects: int) -> list[str]:
        """The texts of a reply's parts, or a notice if the adapter has a defect with them."""
        if defects >= DEFECTS_LIMIT:
            return [NOT_SHOWABLE]
        return await parts_of(self._platform, reply.text if reply.text.strip() else STOPPED)
