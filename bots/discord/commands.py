"""The slash commands and the message menu: they translate a use into a call of the listener.

Holds no rule: who may ask, and what is published, is the listener's business.
"""

from typing import Any, Protocol

import discord
from discord import app_commands
from discord.app_commands import locale_str

QUESTION_CHARS = 4000
"""As long as a message may be; Discord allows 6000."""


class Commands(Protocol):
    """What the commands do."""

    async def on_ask(
        self,
        interaction: "discord.Interaction[Any]",
        text: str,
        about: discord.Message | None = None,
    ) -> None:
        """A question, possibly about a message."""

    async def on_reset(self, interaction: "discord.Interaction[Any]") -> None:
        """Forget what was said here."""

    async def on_help(self, interaction: "discord.Interaction[Any]") -> None:
        """What can be done."""


ABOUT = "Please explain this message."
"""The question of the message menu, which has no room for one."""


def add_commands(tree: app_commands.CommandTree[Any], commands: Commands) -> None:
    """Declares all commands: in servers that installed the bot, and in its direct messages."""

    async def ask(interaction: "discord.Interaction[Any]", question: str) -> None:
        await commands.on_ask(interaction, question)

    async def reset(interaction: "discord.Interaction[Any]") -> None:
        await commands.on_reset(interaction)

    async def help_(interaction: "discord.Interaction[Any]") -> None:
        await commands.on_help(interaction)

    async def about(interaction: "discord.Interaction[Any]", message: discord.Message) -> None:
        await commands.on_ask(interaction, ABOUT, message)

    described = app_commands.describe(question=locale_str("What you want to know"))
    renamed = app_commands.rename(question=locale_str("question"))
    limited = app_commands.Range[str, 1, QUESTION_CHARS]
    ask.__annotations__["question"] = limited
    ask_command: Any = app_commands.Command(
        name=locale_str("ask"),
        description=locale_str("Ask me something"),
        callback=renamed(described(ask)),
    )
    reset_command: Any = app_commands.Command(
        name=locale_str("reset"),
        description=locale_str("Forget what was said here"),
        callback=reset,
    )
    help_command: Any = app_commands.Command(
        name=locale_str("help"), description=locale_str("What I can do"), callback=help_
    )
    menu: Any = app_commands.ContextMenu(name=locale_str("Ask about this"), callback=about)
    for command in (ask_command, reset_command, help_command, menu):
        # Installed by a user alone, the bot could not answer after 15 minutes.
        command.allowed_installs = app_commands.AppInstallationType(guild=True, user=False)
        command.allowed_contexts = app_commands.AppCommandContext(
            guild=True, dm_channel=True, private_channel=False
        )
        tree.add_command(command)
