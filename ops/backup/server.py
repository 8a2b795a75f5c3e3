"""The NATS server of a backup: the configured one, or the data folder's own.

If that is not running, it is started for as long as it is needed.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from ops.nats_server import NatsServer
from shared.lock import AlreadyRunning
from shared.settings import Settings


@contextmanager
def server_url(settings: Settings) -> Iterator[str]:
    """The address to connect to. Call it in the main thread.

    Raises:
        ops.nats_server.DidNotStart: the data folder's own server does not start.
        OSError: the data folder cannot be written.
    """
    if settings.nats_url:
        yield settings.nats_url
        return
    try:
        server = NatsServer(settings.embedded_nats_url_file.parent, port=0)
    except AlreadyRunning:
        yield settings.bus_url()  # by `threadwax up` or `threadwax nats`
        return
    try:
        server.start()
        yield server.url
    finally:
        server.close()
