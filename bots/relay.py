"""The relay: takes replies from the journal and has a platform show each exactly once.

Platform-neutral. It acknowledges a reply only after every part was shown or can never be, and it
must never hold up one user's replies for another's.
"""

import asyncio
import contextlib
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import nats.errors
from nats.aio.msg import Msg
from pydantic import ValidationError

from bots.endings import end
from bots.left_over import LeftOver
from bots.platform import ChatPlatform, Forbidden, Gone, Later, Never, Part, Preparing
from bots.preview import Previews
from bots.split_text import split_text
from shared import metrics, names
from shared.bus import Bus
from shared.log import logger
from shared.messages import Partial, Reply
from shared.pull import consume
from shared.receipts import Claim, Posted, Receipts
from shared.streams import ACK_WAIT_S, ensure_reply_consumer

WORKING_EVERY_S: Final = ACK_WAIT_S / 3
"""How often the server is told that a reply is still being worked on."""

GIVE_UP_AFTER_S: Final = 24 * 3600.0
"""A reply that no platform took for a day goes to the dead letters; until then it is tried."""

LATER_AT_LEAST_S: Final = 0.1
"""Before a part is tried again, whatever the platform says."""

STOPPED: Final = "(stopped)"
NOT_POSTED: Final = "refused"
"""The receipt of a part that the platform refused after the notice was shown for another one."""

NOT_SHOWABLE: Final = "I have an answer, but it cannot be shown here. Please ask in another way."


class Relay:
    """One platform's way from the journal to the people."""

    def __init__(
        self,
        bus: Bus,
        platform: ChatPlatform,
        *,
        consumer: str,
        subject: str,
        partials: str | None = None,
        inactive_s: float | None = None,
        previews_after_s: float = 0.0,
    ) -> None:
        """Wires a relay; `run` starts it.

        `consumer` is the durable consumer of replies on `subject`, which the server forgets after
        `inactive_s` seconds without a reader (None: never). `partials` is a core subject; an answer
        that is whole within `previews_after_s` seconds of its first partial is shown without one.
        """
        self._bus = bus
        self._platform = platform
        self._consumer = consumer
        self._subject = subject
        self._partials = partials
        self._inactive_s = inactive_s
        self._receipts = Receipts(bus, platform.name)
        self._lanes: dict[str, deque[tuple[Reply, Msg]]] = {}
        self._in_hand: dict[str, Msg] = {}
        self._previews = Previews(platform, self._receipts, after_s=previews_after_s)
        self._tasks: set[asyncio.Task[None]] = set()
        self._left_over = LeftOver(bus, consumer, self._in_hand)

    async def run(self) -> None:
        """Shows replies for ever; partials too where there is a subject for them."""
        await self._bus.until_done(
            lambda: ensure_reply_consumer(
                self._bus.js, self._consumer, self._subject, inactive_s=self._inactive_s
            )
        )
        partials = None
        working = asyncio.create_task(self._say_working())
        # Counted before anything is asked for, which would count as well.
        await self._left_over.count()
        forget = self._bus.on_reconnect(self._left_over.hold)
        try:
            if self._partials is not None:
                partials = await self._bus.watch(self._partials, self._see_partial)
            await consume(self._bus, names.REPLIES, self._consumer, self._take)
        finally:
            forget()
            if partials is not None:
                with contextlib.suppress(nats.errors.Error):
                    await partials.unsubscribe()
            self._previews.cancel()
            await self._left_over.stop()
            await end(working, *self._tasks)

    # --- replies ----------------------------------------------------------------------------

    async def _take(self, message: Msg) -> None:
        try:
            reply = Reply.model_validate_json(message.data)
        except ValidationError:
            await self._bus.bury(
                subject=message.subject,
                data=message.data,
                reason="not a reply that this version can read",
                dedupe_id=f"{names.REPLIES}-{message.metadata.sequence.stream}",
            )
            await message.ack()
            return
        if reply.prompt_id in self._in_hand:
            return  # delivered again while it is being shown
        self._in_hand[reply.prompt_id] = message
        lane = self._lanes.get(reply.user)
        if lane is None:
            lane = self._lanes[reply.user] = deque()
            self._spawn(reply.user, lane)
        lane.append((reply, message))
        if self._left_over.holding:
            by_age = sorted(lane, key=lambda held: held[1].metadata.sequence.stream)
            lane.clear()
            lane.extend(by_age)
            if message.metadata.num_delivered > 1:
                self._left_over.came_again()

    def _spawn(self, user: str, lane: "deque[tuple[Reply, Msg]]") -> None:
        task = asyncio.create_task(self._drive(user, lane))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drive(self, user: str, lane: "deque[tuple[Reply, Msg]]") -> None:
        """Shows one user's replies one after the other, in the journal's order."""
        while lane:
            await self._left_over.all_there()
            reply, message = lane.popleft()
            try:
                await self._show(reply)
                await message.ack()
            except Exception:  # noqa: BLE001  (whatever a platform does)
                # A defect in a platform must not end the others' replies. Not acknowledged, so
                # the server delivers it again.
                logger().exception("not shown", prompt=reply.prompt_id)
                metrics.post_failed.labels(self._platform.name, "defect").inc()
            finally:
                self._in_hand.pop(reply.prompt_id, None)
        del self._lanes[user]

    async def _show(self, reply: Reply) -> None:
        started = time.monotonic()
        previewed = await self._previews.finish(reply.prompt_id)
        if reply.outcome == "withdrawn":
            # Claimed, so that no late partial opens a preview in the process after this one.
            await self._receipts.claim(f"{reply.prompt_id}.0")
            await self._platform.withdraw(reply)
            return
        text = reply.text if reply.text.strip() else STOPPED
        pieces = split_text(
            self._prepared(text), self._platform.text_limit_chars, length=self._platform.text_length
        )
        refused = _Refused()
        for index, piece in enumerate(pieces):
            part = Part(reply, piece, index, len(pieces))
            if not await self._post(part, refused, claimed_here=previewed and index == 0):
                return
        logger().info(
            "posted",
            prompt=reply.prompt_id,
            parts=len(pieces),
            took_ms=round((time.monotonic() - started) * 1000),
        )

    def _prepared(self, text: str) -> str:
        """The text as the platform wants it split; as it is, unless the platform says more."""
        platform = self._platform
        return platform.prepared(text) if isinstance(platform, Preparing) else text

    async def _post(self, part: Part, refused: "_Refused", *, claimed_here: bool) -> bool:
        """Shows one part once; False if this reply can never be shown to its end."""
        name = self._platform.name
        # What the preview claimed is this process's: nobody else can have filled it since.
        claim = Claim.NEW if claimed_here else await self._receipts.claim(part.key)
        if isinstance(claim, Posted):
            metrics.posted_before.labels(name).inc()
            return True
        look_first = claim is Claim.TRIED
        while True:
            try:
                receipt = await self._shown(part, look_first=look_first)
            except Later as error:
                metrics.post_failed.labels(name, "later").inc()
                if _age_s(part.reply) > GIVE_UP_AFTER_S:
                    await self._give_up(part, f"not shown within a day: {error}")
                    return False
                logger().warning(
                    "not shown yet",
                    prompt=part.reply.prompt_id,
                    why=str(error),
                    wait_s=round(error.wait_s, 1),
                )
                look_first = look_first or error.maybe_posted
                await asyncio.sleep(max(error.wait_s, LATER_AT_LEAST_S))
            except Never as error:
                if part.text == NOT_SHOWABLE:
                    reason = f"the platform refuses it: {error}"
                    await self._give_up(part, reason, withdrawing=part.index == 0)
                    return False
                logger().error(
                    "refused by the platform", prompt=part.reply.prompt_id, why=str(error)
                )
                if refused.told:
                    await self._receipts.record(part.key, NOT_POSTED)
                    return True
                refused.told = True
                part = Part(part.reply, NOT_SHOWABLE, part.index, part.count)
            except (Gone, Forbidden) as error:
                await self._give_up(part, f"{type(error).__name__.lower()}: {error}")
                return False
            else:
                await self._receipts.record(part.key, receipt)
                return True

    async def _shown(self, part: Part, *, look_first: bool) -> str:
        """The receipt of a part, posted now unless the platform has it."""
        name = self._platform.name
        if look_first and (receipt := await self._platform.find_posted(part)) is not None:
            metrics.posted_before.labels(name).inc()
            return receipt
        receipt = await self._platform.post(part)
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

    async def _say_working(self) -> None:
        while True:
            await asyncio.sleep(WORKING_EVERY_S)
            if self._bus.connected:
                for message in tuple(self._in_hand.values()):
                    with contextlib.suppress(nats.errors.Error):
                        await message.in_progress()

    # --- partials ---------------------------------------------------------------------------

    async def _see_partial(self, message: Msg) -> None:
        try:
            partial = Partial.model_validate_json(message.data)
        except ValidationError:
            return  # lossy by design
        if partial.prompt_id in self._in_hand:
            return
        # Else it would stand before an older answer that is still to be shown.
        may_open = partial.user not in self._lanes and not self._left_over.holding
        self._previews.see(partial, may_open=may_open)


@dataclass(slots=True)
class _Refused:
    """Whether the person was told that the platform refuses a part of this reply."""

    told: bool = False


def _age_s(reply: Reply) -> float:
    return (datetime.now(UTC) - reply.answered_at).total_seconds()
