"""The NATS server of `threadwax up`: the one of NATS_URL, or an embedded one.

It must never leave a server behind that nobody watches.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from ops.embedded_nats import EmbeddedNats
from ops.nats import set_up_as
from shared import lifecycle
from shared.settings import Settings

SIGNAL_NOTICED_S: Final = 0.01
"""An event loop notices within this time a signal that came while it was busy.

The loop of this module ends, and nobody would hear of it later.
"""


async def ready_nats(
    settings: Settings, say: Callable[[str], None], meanwhile: Callable[[], None]
) -> EmbeddedNats | None:
    """Returns the embedded server once it can be used, or None once that of NATS_URL is set up.

    `say` shows people one line about it; `meanwhile` is called while the server starts.

    Raises:
        CannotRun: it cannot be used; the text says why.
        lifecycle.Stopped: a signal came first.
    """
    stop = asyncio.create_task(lifecycle.wait_for_stop())
    nats = None
    try:
        if settings.nats_url is None:
            nats = EmbeddedNats(settings, say)
            starting = nats.start()
        else:
            starting = _set_up(settings.nats_url, settings)
        meanwhile()
        where = await lifecycle.unless_stopped(stop, starting)
        await _unless_just_stopped(stop)
    except BaseException:
        if nats is not None:
            nats.close()
        raise
    finally:
        stop.cancel()
        await asyncio.wait({stop})
    say(f"ready      {where}")
    return nats


async def _unless_just_stopped(stop: asyncio.Task[str]) -> None:
    await asyncio.wait({stop}, timeout=SIGNAL_NOTICED_S)
    if stop.done():
        raise lifecycle.Stopped


async def _set_up(url: str, settings: Settings) -> str:
    from shared.nats_address import without_credentials

    await set_up_as(settings, url)
    return f"{without_credentials(url)} (NATS_URL)"
