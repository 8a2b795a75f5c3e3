"""Posts one part of a reply exactly once: claimed before, recorded after, looked up when in doubt.

Platform-neutral. It must never post a part again that may already be visible, and a text that the
platform cannot take must never hold up later replies.
"""

import asyncio
import contextlib
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Final

from bots.claims import Claims, TakenOver
from bots.giving import Giving, Unanswered
from bots.platform import ChatPlatform, Forbidden, Gone, Later, Never, Part
from shared import metrics, names, tracing
from shared.bus import Bus
from shared.log import logger
from shared.receipts import Claim, Posted, Receipts
from shared.replies import Reply

GIVE_UP_AFTER_S: Final = 24 * 3600.0
"""A reply older than this becomes a dead letter, but only after `TRIED_FOR_S` of trying."""

TRIED_FOR_S: Final = 3600.0
"""A reply may be old because this adapter was down, or because a clock is wrong."""

POISON_TRIES: Final = 6
POISON_AFTER_S: Final = 120.0
"""When a part has failed this often and for this long, its text may be the reason.

The notice is then tried in its place. If the platform takes that, there is no outage.
"""

LATER_AT_LEAST_S: Final = 0.1
"""The shortest wait before a part is tried again, whatever the platform says."""

NOT_POSTED: Final = "refused"
"""The receipt of a refused part if an earlier part already shows the notice."""

NOT_SHOWABLE: Final = "I have an answer, but it cannot be shown here. Please ask in another way."


class PartOutcome(Enum):
    """What became of a part."""

    SHOWN = auto()
    REFUSED = auto()
    """The platform refuses its text; the notice is shown here or in an earlier part's place."""
    GIVEN_UP = auto()
    """The reply is a dead letter: no further part of it can be shown."""


@dataclass(frozen=True, slots=True)
class _Settled:
    """A part that needs no further try: shown, or replaced by the notice."""

    receipt: str
    outcome: PartOutcome


@dataclass(frozen=True, slots=True)
class _Impossible:
    """A part that can never be shown. `withdraw`: remove its preview, too."""

    reason: str
    withdraw: bool = False


class _TooOld(Exception):
    """The platform has not taken a part for a day."""


@dataclass(slots=True)
class _Failures:
    """The failed tries of one part."""

    since_s: float
    count: int = 0

    def add(self, error: Later) -> None:
        """Counts a failure that the text may have caused; a rate limit does not count."""
        self.count += error.maybe_posted or error.refused

    def may_be_poison(self, now_s: float) -> bool:
        """Whether it is time to check if the text is the cause."""
        return self.count >= POISON_TRIES and now_s - self.since_s >= POISON_AFTER_S

    def are_enough(self, now_s: float) -> bool:
        """Whether an old reply has been tried for long enough."""
        return now_s - self.since_s >= TRIED_FOR_S


class PartPoster:
    """Posts the parts of replies to one platform."""

    def __init__(
        self,
        bus: Bus,
        platform: ChatPlatform,
        receipts: Receipts,
        claims: Claims,
        giving: Giving,
    ) -> None:
        self._bus = bus
        self._platform = platform
        self._receipts = receipts
        self._claims = claims
        self._giving = giving

    async def post(self, part: Part, claim: Claim | Posted, *, notice_shown: bool) -> PartOutcome:
        """Shows one part once, or a notice if the platform refuses its text.

        `notice_shown`: an earlier part of this reply already shows the notice.
        """
        if isinstance(claim, Posted):
            metrics.posted_before.labels(self._platform.name).inc()
            return PartOutcome.SHOWN
        end = await self._end_of(part, look_first=claim is Claim.TRIED, notice_shown=notice_shown)
        if isinstance(end, _Impossible):
            await self.give_up(part.reply, end.reason, withdraw=end.withdraw)
            return PartOutcome.GIVEN_UP
        await self._receipts.record(part.key, end.receipt, finished=part.count == 1)
        return end.outcome

    async def _end_of(
        self, part: Part, *, look_first: bool, notice_shown: bool
    ) -> _Settled | _Impossible:
        """Tries a part, then the notice in its place, until it is settled or impossible."""
        try:
            return await self._part_or_notice(
                part, look_first=look_first, notice_shown=notice_shown
            )
        except Never as error:
            reason = f"the platform refuses it: {error}"
            return _Impossible(reason, withdraw=part.index == 0)
        except (Gone, Forbidden) as error:
            return _Impossible(f"{type(error).__name__.lower()}: {error}")
        except _TooOld as error:
            return _Impossible(str(error))

    async def _part_or_notice(
        self, part: Part, *, look_first: bool, notice_shown: bool
    ) -> _Settled:
        """The part as the platform takes it, or the notice in its place.

        Raises:
            Never: the platform refuses the notice, too.
            Gone, Forbidden: the platform says so.
            _TooOld: the platform has not taken it for a day.
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
            return _Settled(NOT_POSTED, PartOutcome.REFUSED)
        taken = await self._taken(notice, look_first=look_first, notice=None)
        return _Settled(taken.receipt, PartOutcome.REFUSED)

    async def _taken(self, part: Part, *, look_first: bool, notice: Part | None) -> _Settled:
        """Tries until the platform takes the part, or refuses it for good.

        A text that keeps failing is replaced by `notice` as soon as the platform takes that.

        Raises:
            TakenOver: another process has the reply, which may reach the platform.
        """
        failures = _Failures(time.monotonic())
        unanswered = Unanswered()
        while True:
            try:
                receipt = await self._shown(part, look_first=look_first)
                return _Settled(receipt, PartOutcome.SHOWN)
            except Later as error:
                later = error
            now_s = time.monotonic()
            metrics.post_failed.labels(self._platform.name, "later").inc()
            if unanswered.is_long(later):
                await self._giving.unanswered(part.reply.prompt_id)
            look_first = look_first or later.maybe_posted
            failures.add(later)
            if failures.are_enough(now_s) and _age_s(part.reply) > GIVE_UP_AFTER_S:
                raise _TooOld(f"not shown within a day: {later}") from later
            if failures.may_be_poison(now_s) and part.text != NOT_SHOWABLE:
                if notice is None:
                    raise Never(f"it fails again and again: {later}") from later
                with contextlib.suppress(Later):
                    receipt = await self._shown(notice, look_first=look_first)
                    logger().error(
                        "fails again and again", prompt=part.reply.prompt_id, why=str(later)
                    )
                    return _Settled(receipt, PartOutcome.REFUSED)
            await self._wait(part, later)

    async def _wait(self, part: Part, error: Later) -> None:
        logger().warning(
            "not shown yet",
            prompt=part.reply.prompt_id,
            why=str(error),
            wait_s=round(error.wait_s, 1),
        )
        with tracing.waiting("for the platform"):
            await asyncio.sleep(max(error.wait_s, LATER_AT_LEAST_S))

    async def _shown(self, part: Part, *, look_first: bool) -> str:
        """The receipt of a part, which is posted unless the platform has it already.

        Raises:
            TakenOver: another process of this platform posts it.
        """
        name = self._platform.name
        await self._check_claim(part)
        if look_first and (receipt := await self._platform.find_posted(part)) is not None:
            self._giving.answered()
            metrics.posted_before.labels(name).inc()
            return receipt
        await self._check_claim(part)  # the search may have taken long
        started = time.monotonic()
        with tracing.posting(name, part.index):
            receipt = await self._platform.post(part)
        self._giving.answered()
        metrics.post_s.labels(name).observe(time.monotonic() - started)
        metrics.posted.labels(name).inc()
        return receipt

    async def _check_claim(self, part: Part) -> None:
        if not await self._claims.is_mine(part.key):
            raise TakenOver

    async def give_up(self, reply: Reply, reason: str, *, withdraw: bool = False) -> None:
        """Makes a reply a dead letter; `withdraw`: its preview, if there is one, is removed."""
        metrics.post_failed.labels(self._platform.name, "given up").inc()
        await self._bus.dead_letter(
            subject=names.reply_subject(reply.user, reply.prompt_id),
            data=reply.wire(),
            reason=reason,
            dedupe_id=f"{names.REPLIES}-{reply.prompt_id}-unshown",
        )
        if withdraw:
            await self._platform.withdraw(reply)
        await self._receipts.finish(reply.prompt_id)


def _age_s(reply: Reply) -> float:
    return (datetime.now(UTC) - reply.answered_at).total_seconds()
