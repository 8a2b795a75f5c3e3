"""Reports the state of NATS as metrics: sizes of streams, their replicas, and who is behind.

Reads only, and only while metrics are served. It must never report an old figure as a current one.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn

import nats.errors
from nats.js import api
from prometheus_client import Gauge

from dataflow.recorder.server_figures import ASK_WITHIN_S, STREAMS
from shared import metrics, names
from shared.bus import Bus
from shared.partitioning import partitions_in
from shared.streams import ADAPTERS, filled

EVERY_S: Final = 15.0
"""As often as Prometheus usually asks."""

REFUSED_AGAIN_S: Final = 300.0
"""The server logs each request that it does not allow."""

CONSUMERS_LIMIT: Final = 1000
"""Dead readers leave consumers for a minute; the account allows no more than this."""


class ServerMetrics:
    """Asks the server regularly. Call from the asyncio thread."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._parts: dict[Callable[[], Awaitable[None]], tuple[Gauge, ...]] = {
            self._streams: (
                metrics.stream_messages, metrics.stream_bytes, metrics.stream_filled,
                metrics.replicas_behind,
            ),
            self._adapters: (metrics.replies_waiting, metrics.replies_in_progress),
            self._partitions: (metrics.partition_readers, metrics.partition_lag),
        }  # fmt: skip
        self._not_before_s = dict.fromkeys(self._parts, 0.0)

    async def watch(self) -> NoReturn:
        """Reports for as long as the process lives."""
        while True:
            await self.report()
            await asyncio.sleep(EVERY_S)

    async def report(self) -> None:
        """Asks once. A part without an answer has no figures until there is one."""
        for part, gauges in self._parts.items():
            if time.monotonic() < self._not_before_s[part]:
                continue
            try:
                async with asyncio.timeout(ASK_WITHIN_S):
                    await part()
            except (TimeoutError, nats.errors.Error):
                for gauge in gauges:
                    gauge.clear()
                if self._bus.connected:
                    self._not_before_s[part] = time.monotonic() + REFUSED_AGAIN_S

    async def _streams(self) -> None:
        for name in STREAMS:
            info = await self._bus.js.stream_info(name)
            metrics.stream_messages.labels(name).set(info.state.messages)
            metrics.stream_bytes.labels(name).set(info.state.bytes)
            metrics.stream_filled.labels(name).set(filled(info))
            metrics.replicas_behind.labels(name).set(_replicas_behind(info))

    async def _adapters(self) -> None:
        for name in ADAPTERS:
            info = await self._bus.js.consumer_info(names.REPLIES, name)
            metrics.replies_waiting.labels(name).set(info.num_pending or 0)
            metrics.replies_in_progress.labels(name).set(info.num_ack_pending or 0)

    async def _partitions(self) -> None:
        config = (await self._bus.js.stream_info(names.PROMPTS)).config
        transform = config.subject_transform.dest if config.subject_transform else ""
        readers = dict.fromkeys(range(partitions_in(transform) or 0), 0)
        unread: dict[int, int] = {}
        for consumer in await self._consumers():
            partition = names.partition_of_filter(consumer.config.filter_subject or "")
            if partition not in readers or not consumer.num_waiting:
                continue  # another program's, or left by a process that has ended
            readers[partition] += 1
            pending = consumer.num_pending or 0
            unread[partition] = min(pending, unread.get(partition, pending))
        metrics.partition_lag.clear()
        for partition, count in readers.items():
            metrics.partition_readers.labels(partition).set(count)
            if partition in unread:  # otherwise nobody knows
                metrics.partition_lag.labels(partition).set(unread[partition])

    async def _consumers(self) -> list[api.ConsumerInfo]:
        found: list[api.ConsumerInfo] = []
        while len(found) < CONSUMERS_LIMIT:
            page = await self._bus.js.consumers_info(names.PROMPTS, offset=len(found))
            if not page:
                break
            found += page
        return found


def _replicas_behind(info: api.StreamInfo) -> int:
    replicas: Any = (info.cluster.replicas if info.cluster else None) or ()
    return sum(bool(peer.offline) or not peer.current for peer in replicas)
