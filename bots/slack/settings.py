"""The settings of the Slack adapter, from environment variables or `.env`, read once at its start.

It must never show a token: those are secrets, and nothing here is logged.
"""

import re
from collections.abc import Callable
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_settings import NoDecode, SettingsConfigDict

from bots.slack.thread_participants import FollowUp
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
"""In SLACK_CHANNELS: direct messages."""


def _ids(letters: str, whose: str, how: str) -> Callable[[str], str]:
    """A list of Slack's ids. One that is not an id would admit, or refuse, nobody."""
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


def _voices(voices: dict[str, "ChannelSettings"]) -> dict[str, "ChannelSettings"]:
    for channel in voices:
        if channel != DIRECT and re.fullmatch(r"[CGD][A-Z0-9]+", channel) is None:
            raise ValueError(
                'a name in it is not the id of a channel: write ids like C0123ABCD, or "dm"'
            )
    return voices


class ChannelSettings(BaseModel):
    """What is special about one channel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    persona: str | None = None
    model: str | None = None


class SlackSettings(FromEnvironment):
    """Every setting of `threadwax slack`; lists are separated by commas."""

    model_config = SettingsConfigDict(
        # The prefix keeps fields' own names, HOST or TOKEN, from being looked for as variables.
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
        description="Without an app-level token: Slack's events come over HTTP, signed with this.",
    )
    api_url: WebAddress = Field(
        DEFAULT_API_URL, alias="SLACK_API_URL", description="The base URL of Slack's Web API."
    )
    host: Host = Field(
        "127.0.0.1", alias="SLACK_HTTP_HOST", description="Where Slack's HTTP events are heard."
    )
    port: int = Field(
        3000,
        alias="SLACK_HTTP_PORT",
        ge=0,
        le=65535,
        description="The port for them; 0 takes a free one. The path is /slack/events.",
    )
    client_id: str | None = Field(
        None,
        alias="SLACK_CLIENT_ID",
        description="With the secret below, in HTTP mode: several workspaces install the app at "
        "/slack/install, and no bot token is needed.",
    )
    client_secret: Secret | None = Field(
        None, alias="SLACK_CLIENT_SECRET", description="The OAuth secret of the Slack app."
    )
    installations_url: SecretStr | None = Field(
        None,
        alias="SLACK_INSTALLATIONS_URL",
        description="The database of those installations, as SQLAlchemy writes it; by default "
        "SQLite under the data folder.",
    )
    config_token: Secret | None = Field(
        None,
        alias="SLACK_CONFIG_TOKEN",
        description="An app configuration token (xoxe.xoxp-...): `doctor slack` then checks the "
        "event subscriptions, too. The adapter does not need it.",
    )
    allow_users: People = Field(
        "",
        alias="SLACK_ALLOW_USERS",
        description="Only these user ids are answered in Slack. Without it every full member is; "
        "it must not be empty.",
    )
    deny_users: People = Field(
        "", alias="SLACK_DENY_USERS", description="These user ids are not answered in Slack."
    )
    allow_channels: Channels = Field(
        "",
        alias="SLACK_ALLOW_CHANNELS",
        description="The bot answers in these channel ids only, and in direct messages. Without it "
        "it answers wherever it is invited; it must not be empty.",
    )
    deny_channels: Channels = Field(
        "", alias="SLACK_DENY_CHANNELS", description="The bot does not answer in these channel ids."
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
        description="Whether other bots that mention this one are answered: two can talk forever.",
    )
    follow_up: Annotated[FollowUp, AnyCase] = Field(
        "asker",
        alias="SLACK_FOLLOW_UP",
        description="Whose messages in a thread with the bot are for it without a mention: "
        "everybody's (always), of those who asked it there (asker), nobody's (mention).",
    )
    streaming: Annotated[Literal["auto", "native", "update", "off"], AnyCase] = Field(
        "auto",
        alias="SLACK_STREAMING",
        description="How a growing answer shows: Slack's own streams (native), a message that is "
        "edited (update), streams in direct messages and edits elsewhere (auto), or not at all.",
    )
    new_message_after_s: float = Field(
        60.0,
        alias="SLACK_NEW_MESSAGE_AFTER_S",
        ge=0,
        allow_inf_nan=False,
        description="An answer that has been growing for longer than this many seconds ends as a "
        "new message, which notifies people as an edit does not; 0: never.",
    )
    edit_asks_again: bool = Field(
        default=False,
        alias="SLACK_EDIT_ASKS_AGAIN",
        description="Whether editing an answered question asks it anew.",
    )
    link_hosts: str = Field(
        "",
        alias="SLACK_LINK_HOSTS",
        description="Hosts (and those below them) whose links stay clickable while an answer is "
        "streamed; others that the user did not write are shown as https[:]//...",
    )
    channels: Annotated[
        dict[str, ChannelSettings], NoDecode, BeforeValidator(from_json), AfterValidator(_voices)
    ] = Field(
        {},
        alias="SLACK_CHANNELS",
        description="Persona and model by channel id (dm: direct messages), as JSON: "
        '{"C0123": {"persona": "You are terse.", "model": "gpt-x"}}',
    )
    suggestions: Annotated[tuple[str, ...], NoDecode, BeforeValidator(from_json)] = Field(
        (),
        max_length=4,
        alias="SLACK_SUGGESTIONS",
        description="Up to 4 prompts that an opened direct message suggests, as JSON.",
    )

    @property
    def over_http(self) -> bool:
        """Whether events come over HTTP instead of Socket Mode."""
        return self.app_token is None and self.signing_secret is not None

    @property
    def with_oauth(self) -> bool:
        """Whether several workspaces install the app themselves."""
        return self.over_http and self.client_id is not None and self.client_secret is not None

    @property
    def is_wanted(self) -> bool:
        """Whether somebody began to set the adapter up: then it says what else it needs."""
        return any((self.bot_token, self.app_token, self.signing_secret, self.client_id))


def listed(text: str) -> frozenset[str]:
    """The entries of a setting that is a list."""
    return frozenset(entries(text))
