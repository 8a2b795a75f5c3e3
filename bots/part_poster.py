"""Posts one part of a reply exactly once: claimed before, recorded after, looked for when in doubt.

Platform-neutral. It must never post a part again while it may be there already, and never let a
text that the platform cannot take hold up the replies behind it.
"""

import asyncio
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Final

from bots.platform import ChatPlatform, Forbidden, Gone, Later, Never, Part
from shared import metrics, names
from shared.bus import Bus
from shared.log import logger
from shared.messages import Reply
from shared.receipts import Claim, Posted, Receipts

GIVE_UP_AFTER_S: Final = 24 * 3600.0
"""A reply that no platform took for a day goes to the dead letters; until then it is tried."""

POISON_TRIES: Final = 6
POISON_OTHERS: Final = 3
"""A platform that fails on one part so often, while it takes so many others, means this text."""

POISON_AFTER_S: Final = 3600.0
"""With nothing else to compare with: it answers questions about the part, and never takes it."""

LATER_AT_LEAST_S: Final = 0.1
"""Before a part is tried again, whatever the platform says."""

NOT_POSTED: Final = "refused"
"""The receipt of a part that the platform refused after the notice was shown for another one."""

NOT_SHOWABLE: Final = "I have an answer, but it cannot be shown here. Please ask in another way."


class PartEnd(Enum):
    """What became of a part."""

    SHOWN = auto()
    REFUSED = auto()
    """The platform refuses its text; the notice stands in its place, or in an earlier part's."""
    GIVEN_UP = auto()
    """A dead letter: nothing more of this reply can be shown."""


class _TooOld(Exception):  # noqa: N818
    """No platform took a part for a day."""


@dataclass(slots=True)
class _Tries:
    """The failures of one part, to tell a platform that is down from one that chokes on a text."""

    others_before: int
    since_s: float
    count: int = 0

    def is_poison(self, others: int, now_s: float) -> bool:
        """Whether the text is at fault: others passed meanwhile, or it failed for an hour."""
        if self.count < POISON_TRIES:
            return False
        others_passed = others - self.others_before >= POISON_OTHERS
        return others_passed or now_s - self.since_s > POISON_AFTER_S


class PartPoster:
    """The way of each part to one platform."""

    def __init__(self, bus: Bus, platform: ChatPlatform, receipts: Receipts) -> None:
        self._bus = bus
        self._platform = platform
        self._receipts = receipts
        self._posted = 0
        """Parts that the platform took, to tell one that is down from one that chokes on a text."""

    async def post(self, part: Part, claim: Claim | Posted, *, notice_shown: bool) -> PartEnd:
        """Shows one part once, or a notice if the platform refuses its text."""
        if isinstance(claim, Posted):
            metrics.posted_before.labels(self._platform.name).inc()
            return PartEnd.SHOWN
        look_first = claim is Claim.TRIED
        try:
            try:
                receipt, ended = await self._receipt_of(part, look_first=look_first), PartEnd.SHOWN
            except Never as error:
                if part.text == NOT_SHOWABLE:
                    raise
                logger().error(
                    "refused by the platform", prompt=part.reply.prompt_id, why=str(error)
                )
                receipt, ended = NOT_POSTED, PartEnd.REFUSED
                if not notice_shown:
                    notice = replace(part, text=NOT_SHOWABLE)
                    receipt = await self._receipt_of(notice, look_first=look_first)
        except Never as error:
            reason = f"the platform refuses it: {error}"
            await self._give_up(part, reason, withdrawing=part.index == 0)
            return PartEnd.GIVEN_UP
        except (Gone, Forbidden) as error:
            await self._give_up(part, f"{type(error).__name__.lower()}: {error}")
            return PartEnd.GIVEN_UP
        except _TooOld as error:
            await self._give_up(part, str(error))
            return PartEnd.GIVEN_UP
        await self._receipts.record(part.key, receipt, finished=part.count == 1)
        return ended

    async def _receipt_of(self, part: Part, *, look_first: bool) -> str:
        """The receipt of a part, tried until the platform takes it or says that it never will.

        Raises:
            Never, Gone, Forbidden: as the platform says, or it keeps failing on this text alone.
            _TooOld: nobody took it for a day.
        """
        tries = _Tries(self._posted, time.monotonic())
        while True:
            try:
                return await self._shown(part, look_first=look_first)
            except Later as error:
                metrics.post_failed.labels(self._platform.name, "later").inc()
                if _age_s(part.reply) > GIVE_UP_AFTER_S:
                    raise _TooOld(f"not shown within a day: {error}") from error
                look_first = look_first or error.maybe_posted
                tries.count += error.maybe_posted
                if tries.is_poison(self._posted, time.monotonic()):
                    raise Never(f"it fails again and again: {error}") from error
                await self._wait(part, error)

    async def _wait(self, part: Part, error: Later) -> None:
        logger().warning(
            "not shown yet",
            prompt=part.reply.prompt_id,
            why=str(error),
            wait_s=round(error.wait_s, 1),
        )
        await asyncio.sleep(max(error.wait_s, LATER_AT_LEAST_S))

    async def _shown(self, part: Part, *, look_first: bool) -> str:
        """The receipt of a part, posted now unless the platform has it."""
        name = self._platform.name
        if look_first and (receipt := await self._platform.find_posted(part)) is not None:
            metrics.posted_before.labels(name).inc()
            return receipt
        receipt = await self._platform.post(part)
        self._posted += 1
        metrics.posted.labels(name).inc()
        return receipt

    async def _give_up(self, part: Part, reason: str, *, withdrawing: bool = False) -> None:
        """Buries a reply; `withdrawing`: its preview, if there is one, must not stay behind."""
        reply = part.reply
        metrics.post_failed.labels(self._platform.name, "given up").inc()
        await self._bus.bury(
            subject=names.reply_subject(reply.user, reply.prompt_id),
            data=reply.wire(),
            reason=reason,
            dedupe_id=f"{names.REPLIES}-{reply.prompt_id}-unshown",
        )
        if withdrawing:
            await self._platform.withdraw(reply)
        await self._receipts.finish(reply.prompt_id)


def _age_s(reply: Reply) -> float:
    return (datetime.now(UTC) - reply.answered_at).total_seconds()
