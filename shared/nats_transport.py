"""nats-py's TCP connection, without the defects of `writelines` in Python 3.12.

There, asyncio's own `writelines` raises a TypeError once a connection is lost, may leave bytes
unwritten at its end, and at first never let a writer wait. Python 3.12 gets only security fixes.
https://github.com/python/cpython/issues/136234, 115514 and 127655
"""

from collections.abc import Iterable

from nats.aio.transport import TcpTransport
from typing_extensions import override


class JoiningTransport(TcpTransport):
    """Writes several pieces as one, as Python 3.11 does."""

    def __init__(self, connected: TcpTransport) -> None:
        """Takes over a connection that nats-py has made."""
        super().__init__()  # type: ignore[no-untyped-call]
        vars(self).update(vars(connected))

    @override
    def writelines(self, payload: Iterable[bytes]) -> None:
        self.write(b"".join(payload))  # type: ignore[no-untyped-call]
