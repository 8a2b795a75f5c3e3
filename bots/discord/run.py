"""`threadwax discord`: runs the Discord adapter as a process."""

import discord as library

from bots.adapter import Adapter, run_adapter
from bots.discord.platform import Discord
from bots.discord.settings import DiscordSettings
from bots.platform import Publish
from shared.blobs import put_blob
from shared.bus import Bus
from shared.own_history import own_history
from shared.settings import Settings


def main(settings: Settings, discord: DiscordSettings) -> int:
    """Run until told to stop; returns the exit code."""
    # The library warns that voice does not work without PyNaCl. This bot does not use voice.
    library.VoiceClient.warn_nacl = False
    library.VoiceClient.warn_dave = False

    async def make(bus: Bus, publish: Publish) -> Adapter:
        async def put(user: str, name: str, data: bytes) -> None:
            await put_blob(bus, name, data, user=user)

        async def fetch_history(user: str) -> bytes:
            return await own_history(bus, user)

        return Discord(
            discord, settings.home, put, publish,
            fetch_history=fetch_history, budgets=settings.budgets,
        )  # fmt: skip

    return run_adapter(settings, "discord", make, redundant=True)
