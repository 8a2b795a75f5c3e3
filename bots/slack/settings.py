"""Settings of the Slack adapter, read once at its start from environment variables or `.env`.

Nothing here is logged, because it holds tokens.
"""

import re
from collections.abc import Callable
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_settings import NoDecode, SettingsConfigDict

from shared.setting_kinds import (
    AnyCase,
    FromEnvironment,
    Host,
    Secret,
    WebAddress,
    entries,
    from_json,
)

DEFAULT_API_URL: Final = "https://slack.com/api/"

DIRECT: Final = "dm"
"""The name of direct messages in SLACK_CHANNELS."""

FollowUp = Literal["always", "asker", "mention"]
"""Whose messages in a thread are for the bot without a mention."""


def _ids(letters: str, whose: str, how: str) -> Callable[[str], str]:
    """Checks a list of Slack's ids: an entry that is not an id would match nobody."""
    one = re.compile(rf"[{letters}][A-Z0-9]+")

    def checked(text: str) -> str:
        found = entries(text)
        if text and not found:
            raise ValueError("it names nobody: name somebody, or remove it")
        if any(one.fullmatch(entry) is None for entry in found):
            raise ValueError(
                f"an entry is not the id of a {whose}: write ids like {letters[0]}0123ABCD, "
                f"separated by commas ({how})"
            )
        return text

    return checked


People = Annotated[
    str, AfterValidator(_ids("UWB", "person", "in Slack: profile, More, Copy member ID"))
]
Channels = Annotated[
    str, AfterValidator(_ids("CGD", "channel", "in Slack: channel details, at the bottom"))
]


def _by_id(channels: dict[str, "ChannelSettings"]) -> dict[str, "ChannelSettings"]:
    for channel in channels:
        if channel != DIRECT and re.fullmatch(r"[CGD][A-Z0-9]+", channel) is None:
            raise ValueError(
                'a name in it is not the id of a channel: write ids like C0123ABCD, or "dm"'
            )
    return channels


class ChannelSettings(BaseModel):
    """The persona and the model of one channel; None means the default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    persona: str | None = None
    model: str | None = None


class SlackSettings(FromEnvironment):
    """Every setting of `threadwax slack`; lists are separated by commas."""

    model_config = SettingsConfigDict(
        # Without a prefix, a variable HOST or TOKEN would be read as well.
        env_prefix="SLACK_",
        populate_by_name=True,
    )

    bot_token: Secret | None = Field(
        None, alias="SLACK_BOT_TOKEN", description="Slack's bot token (xoxb-...)."
    )
    app_token: Secret | None = Field(
        None,
        alias="SLACK_APP_TOKEN",
        description="Slack's app-level token (xapp-...) with connections:write: Socket Mode.",
    )
    signing_secret: Secret | None = Field(
        None,
        alias="SLACK_SIGNING_SECRET",
        description="Without an app-level token, Slack sends its events over HTTP and signs them "
        "with this secret.",
    )
    api_url: WebAddress = Field(
        DEFAULT_API_URL, alias="SLACK_API_URL", description="The base URL of Slack's Web API."
    )
    host: Host = Field(
        "127.0.0.1", alias="SLACK_HTTP_HOST", description="The address to listen on for them."
    )
    port: int = Field(
        3000,
        alias="SLACK_HTTP_PORT",
        ge=0,
        le=65535,
        description="The port to listen on; 0 takes a free one. The path is /slack/events.",
    )
    client_id: str | None = Field(
        None,
        alias="SLACK_CLIENT_ID",
        description="In HTTP mode, with the secret below: several workspaces can install the app "
        "at /slack/install, and no bot token is needed.",
    )
    client_secret: Secret | None = Field(
        None, alias="SLACK_CLIENT_SECRET", description="The OAuth secret of the Slack app."
    )
    installations_url: SecretStr | None = Field(
        None,
        alias="SLACK_INSTALLATIONS_URL",
        description="The database of those installations, as a SQLAlchemy URL; by default SQLite "
        "in the data folder.",
    )
    config_token: Secret | None = Field(
        None,
        alias="SLACK_CONFIG_TOKEN",
        description="An app configuration token (xoxe.xoxp-...), with which `doctor slack` also "
        "checks the event subscriptions. The adapter does not need it.",
    )
    allow_users: People = Field(
        "",
        alias="SLACK_ALLOW_USERS",
        description="Only these users are answered, by id. If it is not set, every full member of "
        "the workspace is. It must not be empty.",
    )
    deny_users: People = Field(
        "", alias="SLACK_DENY_USERS", description="These users are not answered, by id."
    )
    allow_channels: Channels = Field(
        "",
        alias="SLACK_ALLOW_CHANNELS",
        description="The bot answers only in these channels, by id, and in direct messages. If it "
        "is not set, the bot answers wherever it is invited. It must not be empty.",
    )
    deny_channels: Channels = Field(
        "",
        alias="SLACK_DENY_CHANNELS",
        description="The bot does not answer in these channels, by id.",
    )
    allow_external: bool = Field(
        default=False,
        alias="SLACK_ALLOW_EXTERNAL",
        description="Whether people of other workspaces (Slack Connect) are answered.",
    )
    allow_guests: bool = Field(
        default=False, alias="SLACK_ALLOW_GUESTS", description="Whether guests are answered."
    )
    allow_bots: bool = Field(
        default=False,
        alias="SLACK_ALLOW_BOTS",
        description="Whether other bots that mention this one are answered. Two bots may talk "
        "to each other forever.",
    )
    follow_up: Annotated[FollowUp, AnyCase] = Field(
        "asker",
        alias="SLACK_FOLLOW_UP",
        description="Whose messages in a thread with the bot are for it without a mention: "
        "everybody's (always), only those of people who asked it there (asker), or nobody's "
        "(mention).",
    )
    streaming: Annotated[Literal["auto", "native", "update", "off"], AnyCase] = Field(
        "auto",
        alias="SLACK_STREAMING",
        description="How a growing answer is shown: as Slack's own stream (native), as a message "
        "that is edited (update), as a stream in direct messages and edits elsewhere (auto), or "
        "not at all (off).",
    )
    new_message_after_s: float = Field(
        60.0,
        alias="SLACK_NEW_MESSAGE_AFTER_S",
        ge=0,
        allow_inf_nan=False,
        description="An answer that has been growing for more than this many seconds ends as a "
        "new message, because Slack does not notify anybody of an edit; 0: never.",
    )
    edit_asks_again: bool = Field(
        default=False,
        alias="SLACK_EDIT_ASKS_AGAIN",
        description="Whether editing an answered question asks it again.",
    )
    link_hosts: str = Field(
        "",
        alias="SLACK_LINK_HOSTS",
        description="Hosts whose links, and those of their subdomains, stay clickable while an "
        "answer is streamed. Other links that the user did not write are shown as https[:]//...",
    )
    channels: Annotated[
        dict[str, ChannelSettings], NoDecode, BeforeValidator(from_json), AfterValidator(_by_id)
    ] = Field(
        {},
        alias="SLACK_CHANNELS",
        description="Persona and model of a channel, by its id (dm: direct messages), as JSON: "
        '{"C0123": {"persona": "You are terse.", "model": "gpt-x"}}',
    )
    suggestions: Annotated[tuple[str, ...], NoDecode, BeforeValidator(from_json)] = Field(
        (),
        max_length=4,
        alias="SLACK_SUGGESTIONS",
        description="Up to 4 prompts to suggest when somebody opens a direct message, as JSON.",
    )

    @property
    def over_http(self) -> bool:
        """Whether events come over HTTP instead of Socket Mode."""
        return self.app_token is None and self.signing_secret is not None

    @property
    def with_oauth(self) -> bool:
        """Whether workspaces install the app by themselves."""
        return self.over_http and self.client_id is not None and self.client_secret is not None

    @property
    def is_wanted(self) -> bool:
        """Whether somebody began to set up the adapter, which then says what else it needs."""
        return any((self.bot_token, self.app_token, self.signing_secret, self.client_id))


def listed(text: str) -> frozenset[str]:
    """The entries of a list of ids."""
    return frozenset(entries(text))
