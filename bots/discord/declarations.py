"""Declares the slash commands, the message menu and the buttons to discord.py.

Holds no rules: `Commands` and `Interactions` decide who is allowed to ask, and what is published.
"""

import re
from typing import Any, Literal

import discord
from discord import app_commands, ui
from discord.app_commands import locale_str

from bots.discord.buttons import TEMPLATE
from bots.discord.commands import Commands
from bots.discord.interactions import Interactions

QUESTION_CHARS = 4000
"""As long as a message can be; Discord would allow 6000."""


ABOUT = "Please explain this message."
"""The question of the message menu, which has no text field."""


def add_commands(tree: app_commands.CommandTree[Any], commands: Commands) -> None:
    """Declare all commands, for servers that installed the bot and for its direct messages."""

    async def ask(interaction: "discord.Interaction[Any]", question: str) -> None:
        await commands.on_ask(interaction, question)

    async def reset(interaction: "discord.Interaction[Any]") -> None:
        await commands.on_reset(interaction)

    async def privacy(
        interaction: "discord.Interaction[Any]", training: Literal["on", "off"] | None = None
    ) -> None:
        await commands.on_privacy(interaction, training)

    async def forget(interaction: "discord.Interaction[Any]") -> None:
        await commands.on_forget(interaction)

    async def export(interaction: "discord.Interaction[Any]") -> None:
        await commands.on_export(interaction)

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
    about_training = app_commands.describe(
        training=locale_str("Whether models may learn from your messages")
    )
    rename_training = app_commands.rename(training=locale_str("training"))
    privacy_command: Any = app_commands.Command(
        name=locale_str("privacy"),
        description=locale_str("What I store, and whether models may learn from it"),
        callback=rename_training(about_training(privacy)),
    )
    forget_command: Any = app_commands.Command(
        name=locale_str("forget"),
        description=locale_str("Erase everything that is stored about you"),
        callback=forget,
    )
    export_command: Any = app_commands.Command(
        name=locale_str("export"),
        description=locale_str("Get what is recorded of you as a file"),
        callback=export,
    )
    help_command: Any = app_commands.Command(
        name=locale_str("help"), description=locale_str("What I can do"), callback=help_
    )
    menu: Any = app_commands.ContextMenu(name=locale_str("Ask about this"), callback=about)
    for command in (
        ask_command, reset_command, privacy_command, export_command, forget_command, help_command,
        menu,
    ):  # fmt: skip
        # If only a user had installed the app, the bot could not post the answer after 15 minutes.
        command.allowed_installs = app_commands.AppInstallationType(guild=True, user=False)
        command.allowed_contexts = app_commands.AppCommandContext(
            guild=True, dm_channel=True, private_channel=False
        )
        tree.add_command(command)


class AnswerButton(ui.DynamicItem[ui.Button[Any]], template=TEMPLATE):
    """One of the buttons below an answer, restored from its id alone."""

    def __init__(self, item: ui.Button[Any], kind: str, owner: int, prompt_id: str) -> None:
        super().__init__(item)
        self.kind = kind
        self.owner = owner
        self.prompt_id = prompt_id

    @classmethod
    async def from_custom_id(
        cls, interaction: "discord.Interaction[Any]", item: ui.Item[Any], match: "re.Match[str]", /
    ) -> "AnswerButton":
        """Restore the pressed button."""
        del interaction
        assert isinstance(item, ui.Button)  # noqa: S101  (the template names buttons only)
        return cls(item, match["kind"], int(match["owner"]), match["prompt"])

    async def callback(self, interaction: "discord.Interaction[Any]") -> None:
        """Called by discord.py when the button was pressed."""
        interactions: Interactions = interaction.client.interactions
        await interactions.on_press(interaction, self.kind, self.owner, self.prompt_id)
