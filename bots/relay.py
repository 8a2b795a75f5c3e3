"""The relay: takes replies from the journal and has a platform show each one exactly once.

Platform-neutral. It acknowledges a reply only after each part was shown or can never be, shows the
replies of a thread in order, and must never let one thread delay another.
"""

import asyncio
import contextlib
from collections import Counter
from typing import Final

import nats.errors
from nats.aio.msg import Msg

from bots.claims import Claims, TakenOver
from bots.giving import Giving
from bots.newest_partials import NewestPartials
from bots.no_progress import NoProgress
from bots.part_poster import PartPoster
from bots.peers import PULLS_EXPIRE_S, News, NewsKind, Peers, pass_on
from bots.platform import ChatPlatform
from bots.preview import Previews
from bots.read_reply import read_reply
from bots.showing import DEFECTS_LIMIT, Showing
from bots.thread_order import Delivery, Thread, ThreadOrder, ThreadQueue, thread_of
from shared import metrics, names, tracing
from shared.bus import Bus
from shared.log import logger
from shared.messages import AnyEvent
from shared.pull import Pull, consume
from shared.receipts import Receipts
from shared.replies import Partial
from shared.streams import ACK_WAIT_S, ensure_reply_consumer
from shared.tasks import end

WORKING_EVERY_S: Final = ACK_WAIT_S / 3
"""How often the relay tells the server that it is still working on a reply."""

FINISH_S: Final = 1.0
"""How long it shows the replies that it has begun to show; the next process shows the others."""

POLL_S: Final = 0.02


class Relay:
    """Brings the replies of one platform from the journal to the people."""

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
        peers: Peers | None = None,
    ) -> None:
        """Wires a relay; `run` starts it.

        `consumer` is the durable consumer of the replies on `subject`; the server removes it after
        `inactive_s` seconds without a reader (None: never). `partials` is the subject of growing
        answers (None: the platform does not show them). An answer that is complete within
        `previews_after_s` seconds after its first partial gets no preview. `peers` are the other
        processes of this platform, if there can be any.
        """
        self._bus = bus
        self._platform = platform
        self._consumer = consumer
        self._subject = subject
        self._partials = partials
        self._inactive_s = inactive_s
        self._peers = peers
        self._receipts = Receipts(bus, platform.name, owner=peers.me if peers else "")
        self._claims = Claims(self._receipts, platform.name, peers)
        self.pull = Pull(
            bus, names.REPLIES, consumer, self._take, keep_inbox=True, expires_s=PULLS_EXPIRE_S
        )
        self._queues: dict[Thread, ThreadQueue] = {}
        self._in_progress: dict[str, Msg] = {}
        self._drivers: dict[Thread, asyncio.Task[None]] = {}
        self._order = ThreadOrder(self._receipts, self._in_progress, self._unacknowledged)
        self._previews = Previews(platform, self._claims, after_s=previews_after_s)
        self._no_progress = NoProgress(self._show_partial)
        self._growing = NewestPartials(self._report_partial)
        self._tasks: set[asyncio.Task[None]] = set()
        self.giving = Giving(platform, self._claims, peers, self._in_progress)
        self._parts = PartPoster(bus, platform, self._receipts, self._claims, self.giving)
        self._showing = Showing(
            platform,
            receipts=self._receipts,
            claims=self._claims,
            parts=self._parts,
            previews=self._previews,
            giving=self.giving,
            tell=self._tell,
        )
        self._defects: Counter[str] = Counter()

    async def run(self) -> None:
        """Shows replies, and growing answers if they have a subject, until it is cancelled."""
        await self._bus.until_done(self._ensure_consumer)
        partials = None
        working = {asyncio.create_task(self._report_working())}
        if self._peers is not None:
            working.add(
                asyncio.create_task(self._peers.run(self._take, self._hear, self.giving.reaches))
            )
        try:
            if self._partials is not None:
                partials = await self._bus.watch(self._partials, self._growing.take)
            await consume(self._bus, self.pull, ensure=self._ensure_consumer)
        finally:
            if partials is not None:
                with contextlib.suppress(nats.errors.Error):
                    await partials.unsubscribe()
            await self._growing.close()
            self._no_progress.close()
            self._previews.cancel()
            self.giving.answered()
            await end(*self._tasks, *self._order.tasks)
            await end(*working)  # last: when nobody answers, another process takes over

    async def leave_new_replies(self) -> None:
        """Leaves new replies to other processes, and shows those in progress if that is quick."""
        self.pull.hand_back()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FINISH_S):
                while self._in_progress:  # noqa: ASYNC110  (it is over in milliseconds)
                    await asyncio.sleep(POLL_S)

    def asked(self, event: AnyEvent) -> None:
        """Watches an event that was stored: its person is notified if nothing happens."""
        self._no_progress.asked(event)

    def _hear(self, news: News) -> None:
        """Another process of this platform has news."""
        pass_on(news, self._platform)
        if news.kind != "asked":
            self._no_progress.reported(news.prompt_id)
        if news.kind == "shown":
            self._order.finish(news.prompt_id)
            for queue in self._queues.values():
                queue.changed.set()

    async def _tell(self, kind: NewsKind, prompt_id: str) -> None:
        if self._peers is not None:
            await self._peers.tell(kind, prompt_id)

    async def _ensure_consumer(self) -> None:
        await ensure_reply_consumer(
            self._bus.js, self._consumer, self._subject, inactive_s=self._inactive_s
        )

    async def _unacknowledged(self) -> int:
        """How many replies the server waits for, apart from those in progress here."""

        async def once() -> int:
            before = set(self._in_progress)
            info = await self._bus.js.consumer_info(names.REPLIES, self._consumer)
            # Only these were certainly in the server's count: others came or went meanwhile.
            return (info.num_ack_pending or 0) - len(before & self._in_progress.keys())

        return await self._bus.until_done(once)

    # --- replies ----------------------------------------------------------------------------

    async def _take(self, message: Msg) -> None:
        reply = await read_reply(self._bus, message)
        if reply is None:
            return
        if reply.prompt_id in self._in_progress:
            return  # redelivered while it is being shown
        if reply.erased is not None:
            await self._drop_older(reply.user, message)
        self._in_progress[reply.prompt_id] = message
        tracing.delivered(reply.prompt_id)
        self._no_progress.reported(reply.prompt_id)
        thread = thread_of(reply.user, reply.place)
        queue = self._queues.get(thread)
        if queue is None:
            queue = self._queues[thread] = ThreadQueue()
            task = asyncio.create_task(self._drive(thread, queue))
            self._drivers[thread] = task
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        queue.add(Delivery(reply, message))

    async def _drive(self, thread: Thread, queue: ThreadQueue) -> None:
        """Shows the replies of one thread one after the other."""
        while queue.deliveries:
            delivery = await self._order.next_in(queue)
            prompt_id = delivery.reply.prompt_id
            finished = False
            try:
                if self._defects[prompt_id] >= 2 * DEFECTS_LIMIT:
                    await self._parts.give_up(delivery.reply, "the adapter has a defect with it")
                else:
                    await self._showing.show(delivery, defects=self._defects[prompt_id])
                finished = True
                await self._tell("shown", prompt_id)
            except TakenOver:
                logger().info("another process shows it", prompt=prompt_id)
            except Exception:  # noqa: BLE001  (a platform's defect must not stop other replies)
                # Not acknowledged, so the server delivers the reply again.
                logger().exception("not shown", prompt=prompt_id)
                metrics.post_failed.labels(self._platform.name, "defect").inc()
                self._defects[prompt_id] += 1
            if finished:
                self._order.finish(prompt_id)
                self._defects.pop(prompt_id, None)
            # Before the acknowledgement: `_unacknowledged` counts on the server still waiting.
            self._in_progress.pop(prompt_id, None)
            if finished:
                with contextlib.suppress(nats.errors.Error):  # if lost, it is redelivered and known
                    await delivery.message.ack()
        self._queues.pop(thread, None)
        self._drivers.pop(thread, None)

    async def _drop_older(self, user: str, erased: Msg) -> None:
        """Drops the user's replies that wait here: they are no longer in the journal."""
        stopped = {thread for thread in self._queues if thread[0] == user}
        await end(*(self._drivers.pop(thread) for thread in stopped if thread in self._drivers))
        for thread in stopped:
            self._queues.pop(thread, None)
        journal = erased.subject.rpartition(".")[0] + "."
        for prompt_id, message in tuple(self._in_progress.items()):
            if not message.subject.startswith(journal):
                continue
            del self._in_progress[prompt_id]
            is_older = message.metadata.sequence.stream < erased.metadata.sequence.stream
            if is_older:
                self._order.finish(prompt_id)
            with contextlib.suppress(nats.errors.Error):
                # A newer one is delivered again.
                await (message.ack() if is_older else message.nak())

    async def _report_working(self) -> None:
        while True:
            await asyncio.sleep(WORKING_EVERY_S)
            if self._bus.connected:
                for message in tuple(self._in_progress.values()):
                    with contextlib.suppress(nats.errors.Error):
                        await message.in_progress()

    # --- partials ---------------------------------------------------------------------------

    def _report_partial(self, partial: Partial) -> None:
        self._no_progress.reported(partial.prompt_id)
        self._show_partial(partial)

    def _show_partial(self, partial: Partial) -> None:
        if partial.prompt_id in self._in_progress:
            return
        # No preview above an older answer that is still to be shown. An early status may be there:
        # the platform removes it before its own answer begins.
        thread = thread_of(partial.user, partial.place)
        may_open = self.giving.reaches() and thread not in self._queues
        may_open = may_open and (partial.early or self._order.allows_preview(partial.after))
        self._previews.show_partial(partial, may_open=may_open)
