"""The settings of the Discord adapter, read once at its start."""

import json
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

API_URL: Final = "https://discord.com/api/v10"


def _ids(value: object) -> object:
    """Ids separated by commas or spaces."""
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


def _json(value: object) -> object:
    """An object as JSON."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError("this is not JSON") from error


Ids = Annotated[tuple[int, ...], NoDecode, BeforeValidator(_ids)]


class Voice(BaseModel):
    """How the bot speaks in one place."""

    persona: str | None = None
    model: str | None = None


class DiscordSettings(BaseSettings):
    """Every setting of `threadwax discord`; ids are Discord's numbers, separated by commas."""

    model_config = SettingsConfigDict(
        # The prefix keeps fields' own names, HOST or TOKEN, from being looked for as variables.
        env_file=".env",
        env_prefix="DISCORD_",
        env_ignore_empty=True,
        extra="ignore",
        populate_by_name=True,
    )

    token: SecretStr | None = Field(
        None, alias="DISCORD_TOKEN", description="The Discord bot's token; docs/discord.md."
    )
    api_url: str | None = Field(
        None, alias="DISCORD_API_URL", description="Another address of Discord's REST API."
    )
    gateway_url: str | None = Field(
        None, alias="DISCORD_GATEWAY_URL", description="Another address of Discord's gateway."
    )
    message_content: bool = Field(
        True,  # noqa: FBT003
        alias="DISCORD_MESSAGE_CONTENT",
        description="Use the privileged message content intent. Without it only follow-ups in "
        "threads that do not mention the bot are lost.",
    )
    answer_in: Literal["thread", "reply", "place"] = Field(
        "thread",
        alias="DISCORD_ANSWER_IN",
        description="Where Discord questions are answered: thread (opened on the question), "
        "reply, or place (a plain message).",
    )
    direct_messages: Literal["everyone", "allowed", "nobody"] = Field(
        "everyone",
        alias="DISCORD_DIRECT_MESSAGES",
        description="Who may write direct messages; allowed: the users of DISCORD_ALLOW_USERS.",
    )
    new_message_after_s: float = Field(
        60.0,
        ge=0,
        alias="DISCORD_NEW_MESSAGE_AFTER_S",
        description="An answer that grew for this long ends as a new message, since an edit gives "
        "no notification and no unread mark; 0: never.",
    )
    answer_edits: bool = Field(
        False,  # noqa: FBT003
        alias="DISCORD_ANSWER_EDITS",
        description="Answer a Discord question anew when it is edited after its answer.",
    )
    allow_guilds: Ids = Field(
        (), alias="DISCORD_ALLOW_GUILDS", description="Only these servers; empty: all."
    )
    deny_guilds: Ids = Field((), alias="DISCORD_DENY_GUILDS", description="Not these servers.")
    allow_channels: Ids = Field(
        (), alias="DISCORD_ALLOW_CHANNELS", description="Only these channels; empty: all."
    )
    deny_channels: Ids = Field((), alias="DISCORD_DENY_CHANNELS", description="Not these channels.")
    allow_roles: Ids = Field(
        (),
        alias="DISCORD_ALLOW_ROLES",
        description="Only members with one of these roles, or users of DISCORD_ALLOW_USERS; "
        "empty: all. Roles never count in direct messages.",
    )
    deny_roles: Ids = Field(
        (), alias="DISCORD_DENY_ROLES", description="No members with one of these roles."
    )
    allow_users: Ids = Field(
        (), alias="DISCORD_ALLOW_USERS", description="Only these users; empty: all."
    )
    deny_users: Ids = Field((), alias="DISCORD_DENY_USERS", description="Not these users.")
    voices: Annotated[dict[int, Voice], NoDecode, BeforeValidator(_json)] = Field(
        {},
        alias="DISCORD_PERSONAS",
        description="Persona and model by the id of a channel or server, as JSON: "
        '{"123": {"persona": "You are a pirate.", "model": "small"}}.',
    )

    def voice(self, *places: int | None) -> Voice:
        """What holds in the first of these places that has something, for each part of it."""
        found = [self.voices[place] for place in places if place in self.voices]
        return Voice(
            persona=next((v.persona for v in found if v.persona), None),
            model=next((v.model for v in found if v.model), None),
        )
