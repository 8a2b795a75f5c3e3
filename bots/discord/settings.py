"""The settings of the Discord adapter, read once at its start."""

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from shared.setting_kinds import (
    AnyCase,
    FromEnvironment,
    Secret,
    SocketAddress,
    WebAddress,
    entries,
    from_json,
)

API_URL: Final = "https://discord.com/api/v10"

_ID_LIMIT: Final = 1 << 64


def _ids(value: object) -> object:
    """Ids separated by commas or spaces."""
    if not isinstance(value, str):
        return value
    found = entries(value)
    if value and not found:
        raise ValueError("it names nobody: name somebody, or remove it")
    if not all(one.isascii() and one.isdecimal() and int(one) < _ID_LIMIT for one in found):
        raise ValueError(
            "an entry is not an id: ids are numbers, separated by commas (switch on Developer Mode "
            "in Discord's advanced settings, then right-click and Copy ID)"
        )
    return found


Ids = Annotated[tuple[int, ...], NoDecode, BeforeValidator(_ids)]


class ChannelSettings(BaseModel):
    """How the bot speaks in one place."""

    model_config = ConfigDict(extra="forbid")

    persona: str | None = None
    model: str | None = None


class DiscordSettings(FromEnvironment):
    """Every setting of `threadwax discord`; ids are Discord's numbers, separated by commas."""

    model_config = SettingsConfigDict(
        # The prefix keeps fields' own names, HOST or TOKEN, from being looked for as variables.
        env_prefix="DISCORD_",
        populate_by_name=True,
    )

    token: Secret | None = Field(
        None, alias="DISCORD_TOKEN", description="The Discord bot's token; docs/discord.md."
    )
    api_url: WebAddress | None = Field(
        None, alias="DISCORD_API_URL", description="Another address of Discord's REST API."
    )
    gateway_url: SocketAddress | None = Field(
        None, alias="DISCORD_GATEWAY_URL", description="Another address of Discord's gateway."
    )
    message_content: bool = Field(
        True,  # noqa: FBT003
        alias="DISCORD_MESSAGE_CONTENT",
        description="Use the privileged message content intent. Without it only follow-ups in "
        "threads that do not mention the bot are lost.",
    )
    answer_in: Annotated[Literal["thread", "reply", "place"], AnyCase] = Field(
        "thread",
        alias="DISCORD_ANSWER_IN",
        description="Where Discord questions are answered: thread (opened on the question), "
        "reply, or place (a plain message).",
    )
    direct_messages: Annotated[Literal["everyone", "allowed", "nobody"], AnyCase] | None = Field(
        None,
        alias="DISCORD_DIRECT_MESSAGES",
        description="Who may write direct messages: everyone, nobody, or allowed, the users of "
        "DISCORD_ALLOW_USERS. By default everyone, and allowed as soon as any list of allowed "
        "servers, channels, roles or users is set. DISCORD_ALLOW_USERS always counts.",
    )
    new_message_after_s: float = Field(
        60.0,
        ge=0,
        allow_inf_nan=False,
        alias="DISCORD_NEW_MESSAGE_AFTER_S",
        description="An answer that grew for this long ends as a new message, since an edit gives "
        "no notification and no unread mark; 0: never.",
    )
    answer_edits: bool = Field(
        False,  # noqa: FBT003
        alias="DISCORD_ANSWER_EDITS",
        description="Answer a Discord question again when it is edited after its answer.",
    )
    allow_guilds: Ids = Field((), alias="DISCORD_ALLOW_GUILDS", description="Only these servers.")
    deny_guilds: Ids = Field((), alias="DISCORD_DENY_GUILDS", description="Not these servers.")
    allow_channels: Ids = Field(
        (), alias="DISCORD_ALLOW_CHANNELS", description="Only these channels."
    )
    deny_channels: Ids = Field((), alias="DISCORD_DENY_CHANNELS", description="Not these channels.")
    allow_roles: Ids = Field(
        (),
        alias="DISCORD_ALLOW_ROLES",
        description="Only members with one of these roles, or users of DISCORD_ALLOW_USERS. "
        "Roles never count in direct messages.",
    )
    deny_roles: Ids = Field(
        (), alias="DISCORD_DENY_ROLES", description="No members with one of these roles."
    )
    allow_users: Ids = Field(
        (),
        alias="DISCORD_ALLOW_USERS",
        description="Only these users, in direct messages, too. Without a list of allowed ones "
        "everybody is answered; no such list may be empty.",
    )
    deny_users: Ids = Field((), alias="DISCORD_DENY_USERS", description="Not these users.")
    voices: Annotated[dict[int, ChannelSettings], NoDecode, BeforeValidator(from_json)] = Field(
        {},
        alias="DISCORD_PERSONAS",
        description="Persona and model by the id of a channel or server, as JSON: "
        '{"123": {"persona": "You are a pirate.", "model": "small"}}.',
    )

    @model_validator(mode="after")
    def _closed(self) -> Self:
        """Whoever names the allowed ones does not want everybody to come in by direct message."""
        lists = (self.allow_guilds, self.allow_channels, self.allow_roles, self.allow_users)
        if self.direct_messages is None:
            self.direct_messages = "allowed" if any(lists) else "everyone"
        elif self.direct_messages == "everyone" and self.allow_users:
            self.direct_messages = "allowed"
        return self

    def voice(self, *places: int | None) -> ChannelSettings:
        """What holds in the first of these places that has something, for each part of it."""
        found = [self.voices[place] for place in places if place in self.voices]
        return ChannelSettings(
            persona=next((v.persona for v in found if v.persona), None),
            model=next((v.model for v in found if v.model), None),
        )
