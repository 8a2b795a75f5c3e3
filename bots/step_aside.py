"""When a process that is cut off, from its platform or from NATS, leaves the work to others.

It must never do so if there are none: during an outage of the platform or of NATS, that would help
nobody.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, runtime_checkable

from bots.peers import HEARD_S, Peers
from shared.lease import Lease
from shared.log import logger
from shared.pulse import now_s

CHECK_EVERY_S: Final = 1.0
UNREACHED_S: Final = 8.0
"""After this long without an answer of the platform, a process steps aside."""

STARTS_WITHIN_S: Final = 30.0
"""How long a process may take to connect."""

OTHERS_FIRST_S: Final = 5.0
"""After it stepped aside, it leaves the lease to others for this long."""

NATS_AWAY_S: Final = 3.0
"""After this long without NATS, a process takes no more events if there are others."""

FIRST_QUIET_S: Final = 30.0
LAST_QUIET_S: Final = 600.0
PROVEN_S: Final = 120.0
"""Whoever held the lease for this long reached the platform."""


def next_quiet_s(before_s: float, *, held_for_s: float) -> float:
    """How long a process that stepped aside does not ask for the lease, though it may take it.

    Twice as long as `before_s`, the last time, because in an outage of the platform every holder
    steps aside; unless it reached the platform in between.
    """
    longer = 2 * before_s if held_for_s < PROVEN_S else 0.0
    return min(max(longer, FIRST_QUIET_S), LAST_QUIET_S)


async def until_unreached(reaches: Callable[[], Awaitable[bool]], lease: Lease) -> None:
    """Returns when the platform does not answer this process, and another one waits for the lease.

    It would keep the lease forever, because NATS answers.
    """
    answered_at = now_s() + STARTS_WITHIN_S - UNREACHED_S
    while now_s() - answered_at <= UNREACHED_S:
        await asyncio.sleep(CHECK_EVERY_S)
        # Alone, it would stay anyway, so it does not ask.
        answers = await reaches() if lease.others_wait else now_s() > answered_at
        if answers:
            answered_at = now_s()
    logger().warning("does not reach the platform: another process takes over")


@runtime_checkable
class Pausable(Protocol):
    """An adapter to which its platform sends events that others of its kind can take, too."""

    def pause(self) -> None:
        """Takes no more events. Whatever it is sent now, the platform sends to others."""

    def resume(self) -> None:
        """Takes events again."""


async def pause_without_nats(adapter: Pausable, peers: Peers) -> None:
    """Has an adapter take no events while it cannot store them, until it is cancelled."""
    looks, answered_at, is_paused = 0, now_s(), False
    while True:
        await asyncio.sleep(CHECK_EVERY_S)
        if peers.pulse.is_fresh:
            looks, answered_at = 0, now_s()
            if is_paused:
                is_paused = False
                adapter.resume()
            continue
        looks += 1  # not the time, which also passes while this process is frozen
        others = answered_at - peers.heard_at < HEARD_S
        if others and not is_paused and looks * CHECK_EVERY_S >= NATS_AWAY_S:
            is_paused = True
            logger().warning("takes no events without NATS: another process does")
            adapter.pause()
