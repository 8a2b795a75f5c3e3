"""Posts one part of a reply exactly once: claimed before, recorded after, looked for when in doubt.

Platform-neutral. It must never post a part again while it may be there already, and never let a
text that the platform cannot take hold up the replies behind it.
"""

import asyncio
import contextlib
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
"""A reply that is a day old goes to the dead letters, but only after it was tried for a while."""

TRIED_FOR_S: Final = 3600.0
"""That while: a reply may be old because this adapter was away, or because a clock is wrong."""

POISON_TRIES: Final = 6
POISON_AFTER_S: Final = 120.0
"""A part that fails this often, for at least this long, may have a text that the platform cannot
take. The same place is then offered the notice: if it takes that, it is not an outage."""

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


class _TooOld(Exception):
    """No platform took a part for a day."""


@dataclass(slots=True)
class _Tries:
    """The failures of one part."""

    since_s: float
    count: int = 0

    def add(self, error: Later) -> None:
        """Counts a failure for which the text can be the reason: a rate limit says nothing."""
        self.count += error.maybe_posted or error.refused

    def may_be_poison(self, now_s: float) -> bool:
        """Whether it is time to find out if the text is at fault."""
        return self.count >= POISON_TRIES and now_s - self.since_s >= POISON_AFTER_S

    def is_enough(self, now_s: float) -> bool:
        """Whether an old reply was tried for long enough."""
        return now_s - self.since_s >= TRIED_FOR_S


class PartPoster:
    """The way of each part to one platform."""

    def __init__(self, bus: Bus, platform: ChatPlatform, receipts: Receipts) -> None:
        self._bus = bus
        self._platform = platform
        self._receipts = receipts

    async def post(self, part: Part, claim: Claim | Posted, *, notice_shown: bool) -> PartEnd:
        """Shows one part once, or a notice if the platform refuses its text."""
        if isinstance(claim, Posted):
            metrics.posted_before.labels(self._platform.name).inc()
            return PartEnd.SHOWN
        look_first = claim is Claim.TRIED
        try:
            receipt, ended = await self._ended(
                part, look_first=look_first, notice_shown=notice_shown
            )
        except Never as error:
            reason = f"the platform refuses it: {error}"
            await self.give_up(part.reply, reason, withdrawing=part.index == 0)
            return PartEnd.GIVEN_UP
        except (Gone, Forbidden) as error:
            await self.give_up(part.reply, f"{type(error).__name__.lower()}: {error}")
            return PartEnd.GIVEN_UP
        except _TooOld as error:
            await self.give_up(part.reply, str(error))
            return PartEnd.GIVEN_UP
        await self._receipts.record(part.key, receipt, finished=part.count == 1)
        return ended

    async def _ended(
        self, part: Part, *, look_first: bool, notice_shown: bool
    ) -> tuple[str, PartEnd]:
        """The receipt of a part, or that of the notice in its place.

        Raises:
            Never: the platform refuses the notice as well.
            Gone, Forbidden: as the platform says.
            _TooOld: nobody took it for a day.
        """
        is_notice = part.text == NOT_SHOWABLE
        notice = None if notice_shown or is_notice else replace(part, text=NOT_SHOWABLE)
        try:
            return await self._taken(part, look_first=look_first, notice=notice)
        except Never as error:
            if is_notice:
                raise
            logger().error("refused by the platform", prompt=part.reply.prompt_id, why=str(error))
        if notice is None:
            return NOT_POSTED, PartEnd.REFUSED
        receipt, _ = await self._taken(notice, look_first=look_first, notice=None)
        return receipt, PartEnd.REFUSED

    async def _taken(
        self, part: Part, *, look_first: bool, notice: Part | None
    ) -> tuple[str, PartEnd]:
        """Tries until the platform takes the part, or says that it never will.

        A text on which it always fails is replaced by the `notice`, once its place takes that.
        """
        tries = _Tries(time.monotonic())
        while True:
            try:
                return await self._shown(part, look_first=look_first), PartEnd.SHOWN
            except Later as error:
                later = error
            now_s = time.monotonic()
            metrics.post_failed.labels(self._platform.name, "later").inc()
            look_first = look_first or later.maybe_posted
            tries.add(later)
            if tries.is_enough(now_s) and _age_s(part.reply) > GIVE_UP_AFTER_S:
                raise _TooOld(f"not shown within a day: {later}") from later
            if tries.may_be_poison(now_s) and part.text != NOT_SHOWABLE:
                if notice is None:
                    raise Never(f"it fails again and again: {later}") from later
                with contextlib.suppress(Later):
                    receipt = await self._shown(notice, look_first=look_first)
                    logger().error("fails again and again", prompt=part.reply.prompt_id,
                                   why=str(later))  # fmt: skip
                    return receipt, PartEnd.REFUSED
            await self._wait(part, later)

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
        metrics.posted.labels(name).inc()
        return receipt

    async def give_up(self, reply: Reply, reason: str, *, withdrawing: bool = False) -> None:
        """Buries a reply; `withdrawing`: its preview, if there is one, must not stay behind."""
        metrics.post_failed.labels(self._platform.name, "given up").inc()
        await self._bus.dead_letter(
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
