"""`threadwax discord`: the adapter as a process."""

from bots.adapter import run_adapter
from bots.discord.platform import Discord
from bots.discord.settings import DiscordSettings
from shared.settings import Settings


def main(settings: Settings, discord: DiscordSettings) -> int:
    """Runs until it is told to stop; returns the exit code."""
    return run_adapter(settings, "discord", lambda bus: Discord(discord, bus, settings.home))
