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
    renamed,
)

API_URL: Final = "https://discord.com/api/v10"

_ID_LIMIT: Final = 1 << 64


def _ids(value: object) -> object:
    """Parse ids that are separated by commas or spaces."""
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
    """Persona and model of one channel or server."""

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
        None,
        alias="DISCORD_TOKEN",
        description="The bot's token; docs/discord.md says where to get it.",
    )
    api_url: WebAddress | None = Field(
        None,
        alias="DISCORD_API_URL",
        description="The address of Discord's REST API, if it is not the usual one.",
    )
    gateway_url: SocketAddress | None = Field(
        None,
        alias="DISCORD_GATEWAY_URL",
        description="The address of Discord's gateway, if it is not the usual one.",
    )
    message_content: bool = Field(
        True,  # noqa: FBT003
        alias="DISCORD_MESSAGE_CONTENT",
        description="Whether to use the privileged message content intent. Without it, the bot "
        "does not see messages in its threads that do not mention it.",
    )
    answer_in: Annotated[Literal["thread", "reply", "place"], AnyCase] = Field(
        "thread",
        alias="DISCORD_ANSWER_IN",
        description="How the bot answers a question in a channel: in a new thread on the question "
        "(thread), with a reply (reply), or with a plain message (place).",
    )
    direct_messages: Annotated[Literal["everyone", "allowed", "nobody"], AnyCase] | None = Field(
        None,
        alias="DISCORD_DIRECT_MESSAGES",
        description="Whose direct messages the bot answers: everyone, nobody, or allowed (the "
        "users in DISCORD_ALLOW_USERS). The default is everyone, or allowed if any "
        "DISCORD_ALLOW_* list is set. If DISCORD_ALLOW_USERS is set, everyone means allowed.",
    )
    new_message_after_s: float = Field(
        60.0,
        ge=0,
        allow_inf_nan=False,
        alias="DISCORD_NEW_MESSAGE_AFTER_S",
        description="An answer that was visible for this many seconds while it grew ends as a new "
        "message, because Discord does not mark an edit as unread; 0: never.",
    )
    edit_asks_again: bool = Field(
        False,  # noqa: FBT003
        alias="DISCORD_EDIT_ASKS_AGAIN",
        validation_alias=renamed("DISCORD_ANSWER_EDITS", "DISCORD_EDIT_ASKS_AGAIN"),
        description="Whether editing an answered question asks it again.",
    )
    allow_guilds: Ids = Field(
        (),
        alias="DISCORD_ALLOW_GUILDS",
        description="The ids of the only servers in which the bot answers.",
    )
    deny_guilds: Ids = Field(
        (),
        alias="DISCORD_DENY_GUILDS",
        description="The ids of servers in which the bot does not answer.",
    )
    allow_channels: Ids = Field(
        (),
        alias="DISCORD_ALLOW_CHANNELS",
        description="The ids of the only channels in which the bot answers, including their "
        "threads.",
    )
    deny_channels: Ids = Field(
        (),
        alias="DISCORD_DENY_CHANNELS",
        description="The ids of channels in which the bot does not answer, including their "
        "threads.",
    )
    allow_roles: Ids = Field(
        (),
        alias="DISCORD_ALLOW_ROLES",
        description="The ids of the only roles whose members the bot answers, apart from users in "
        "DISCORD_ALLOW_USERS. Roles do not count in direct messages.",
    )
    deny_roles: Ids = Field(
        (),
        alias="DISCORD_DENY_ROLES",
        description="The ids of roles whose members the bot does not answer.",
    )
    allow_users: Ids = Field(
        (),
        alias="DISCORD_ALLOW_USERS",
        description="The ids of the only users whom the bot answers, also in direct messages. "
        "Without any DISCORD_ALLOW_* list it answers everybody; a list that is set must not be "
        "empty.",
    )
    deny_users: Ids = Field(
        (), alias="DISCORD_DENY_USERS", description="The ids of users whom the bot does not answer."
    )
    channels: Annotated[dict[int, ChannelSettings], NoDecode, BeforeValidator(from_json)] = Field(
        {},
        alias="DISCORD_CHANNELS",
        validation_alias=renamed("DISCORD_PERSONAS", "DISCORD_CHANNELS"),
        description="Persona and model by the id of a channel or server, as JSON: "
        '{"123": {"persona": "You are a pirate.", "model": "small"}}.',
    )

    @model_validator(mode="after")
    def _restrict_direct_messages(self) -> Self:
        """Apply the allow lists to direct messages, too."""
        lists = (self.allow_guilds, self.allow_channels, self.allow_roles, self.allow_users)
        if self.direct_messages is None:
            self.direct_messages = "allowed" if any(lists) else "everyone"
        elif self.direct_messages == "everyone" and self.allow_users:
            self.direct_messages = "allowed"
        return self

    def channel_settings(self, *ids: int | None) -> ChannelSettings:
        """The persona and the model, each from the first of these ids that sets it."""
        found = [self.channels[one] for one in ids if one in self.channels]
        return ChannelSettings(
            persona=next((v.persona for v in found if v.persona), None),
            model=next((v.model for v in found if v.model), None),
        )
