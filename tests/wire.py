"""A bad cable: passes frames between two network interfaces, and loses, delays or drops some.

`python -m tests.wire FAULT ONE OTHER`: see `namespaces.Host.impair`. In user space, because not
every kernel has netem. It runs until it is killed.
"""

import collections
import dataclasses
import json
import random
import select
import signal
import socket
import sys
import time
from typing import Final

from shared.lifecycle import die_with_parent_signal

_ETH_P_ALL: Final = 3
_SOL_PACKET: Final = 263
_PACKET_VNET_HDR: Final = 15
_PACKET_IGNORE_OUTGOING: Final = 23  # linux/if_packet.h
_SO_RCVBUFFORCE: Final = 33
_BUFFER_BYTES: Final = 8 << 20
_FRAME_BYTES: Final = 1 << 17

READY: Final = "ready"


@dataclasses.dataclass(frozen=True)
class Fault:
    """What happens to frames from the host (`out`) and to the host (`in`)."""

    lost: float = 0.0
    """Which share of the frames is lost, in each direction."""

    delay_s: float = 0.0
    """How much later frames arrive, in each direction."""

    dropped: str = ""
    """The direction in which nothing passes: `in`, `out`, or neither."""


def _opened(interface: str) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    # Frames come with what the sender left to its hardware, such as checksums, and are sent so.
    opened.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    opened.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
    opened.bind((interface, _ETH_P_ALL))
    return opened


def _run(fault: Fault, host: str, bridge: str) -> None:
    one, other = _opened(host), _opened(bridge)
    to = {one: other, other: one}
    direction = {one: "out", other: "in"}
    rng = random.Random(20261127)
    waiting: collections.deque[tuple[float, socket.socket, bytes]] = collections.deque()
    die_with_parent_signal(signal.SIGKILL)
    print(READY, flush=True)  # noqa: T201  (for who started it)
    while True:
        left = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        for readable in select.select([one, other], [], [], left)[0]:
            frame = readable.recv(_FRAME_BYTES)
            if direction[readable] != fault.dropped and rng.random() >= fault.lost:
                waiting.append((time.monotonic() + fault.delay_s, to[readable], frame))
        while waiting and waiting[0][0] <= time.monotonic():
            _, out, frame = waiting.popleft()
            try:
                out.send(frame)
            except OSError as error:  # a full queue or a cable that was unplugged: lost
                print(error, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    _run(Fault(**json.loads(sys.argv[1])), *sys.argv[2:])
