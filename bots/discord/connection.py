"""Keeps a connection to Discord's gateway for as long as the process lives.

If a client ends, a new one takes over after a growing wait. It must never run two clients at once,
nor reconnect if that cannot help.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import discord

from bots.adapter import Misconfigured
from shared.log import logger

FATAL_CODES: Final = frozenset({4004, 4010, 4011, 4012, 4013, 4014})
"""Close codes that a new connection would receive again: token, shard, version, intents."""

FIRST_WAIT_S: Final = 1.0
LAST_WAIT_S: Final = 60.0
LIVED_S: Final = 120.0
"""A client that ran for this long was healthy, so the wait starts over."""

CLOSE_WITHIN_S: Final = 10.0


async def keep_connected(
    make: Callable[[], discord.Client], token: str, *, closed: Callable[[], Awaitable[None]]
) -> None:
    """Run one client after another forever; `closed` is called after each.

    Raises:
        Misconfigured: the token or the intents are refused.
    """
    wait_s = FIRST_WAIT_S
    while True:
        client = make()
        started = time.monotonic()
        try:
            await client.start(token)
            why = "closed"
        except discord.LoginFailure as error:
            raise Misconfigured(
                "Discord refuses DISCORD_TOKEN: reset it under Bot at "
                "https://discord.com/developers/applications and set the new one."
            ) from error
        except discord.PrivilegedIntentsRequired as error:
            raise Misconfigured(
                "Discord refuses the message content intent: enable it under Bot at "
                "https://discord.com/developers/applications, or set DISCORD_MESSAGE_CONTENT=false."
            ) from error
        except discord.ConnectionClosed as error:
            if error.code in FATAL_CODES:
                raise Misconfigured(
                    f"Discord's gateway closed the connection with code {error.code}, and a retry "
                    "would not help. Run `threadwax doctor discord` to check DISCORD_TOKEN."
                ) from error
            why = f"close code {error.code}"
        except Exception as error:  # noqa: BLE001  (a malformed event can end discord.py's client)
            why = type(error).__name__
        finally:
            await _close(client)
            await closed()
        if time.monotonic() - started > LIVED_S:
            wait_s = FIRST_WAIT_S
        logger().warning("disconnected from discord", why=why, wait_s=wait_s)
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * 2, LAST_WAIT_S)


async def _close(client: discord.Client) -> None:
    # AttributeError: a client that failed before it had its own queue.
    with suppress(Exception):
        async with asyncio.timeout(CLOSE_WITHIN_S):
            await client.close()
