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
        # Otherwise `populate_by_name` would also read variables called HOST or PORT.
        env_prefix="SLACK_",
        populate_by_name=True,
    )

    bot_token: Secret | None = Field(
        None, alias="SLACK_BOT_TOKEN", description="The app's bot token (xoxb-...)."
    )
    app_token: Secret | None = Field(
        None,
        alias="SLACK_APP_TOKEN",
        description="The app-level token (xapp-...) with the scope connections:write, for Socket "
        "Mode.",
    )
    signing_secret: Secret | None = Field(
        None,
        alias="SLACK_SIGNING_SECRET",
        description="The app's signing secret, for events over HTTP. With SLACK_APP_TOKEN, events "
        "come over Socket Mode and this is not used.",
    )
    api_url: WebAddress = Field(
        DEFAULT_API_URL, alias="SLACK_API_URL", description="The base URL of Slack's Web API."
    )
    host: Host = Field(
        "127.0.0.1",
        alias="SLACK_HTTP_HOST",
        description="The address to listen on for events over HTTP.",
    )
    port: int = Field(
        3000,
        alias="SLACK_HTTP_PORT",
        ge=0,
        le=65535,
        description="The port to listen on for events over HTTP, at the path /slack/events; 0 "
        "chooses a free one.",
    )
    client_id: str | None = Field(
        None,
        alias="SLACK_CLIENT_ID",
        description="The app's client ID. Over HTTP, with this and SLACK_CLIENT_SECRET, several "
        "workspaces can install the app at /slack/install, and no bot token is needed.",
    )
    client_secret: Secret | None = Field(
        None,
        alias="SLACK_CLIENT_SECRET",
        description="The client secret that belongs to SLACK_CLIENT_ID.",
    )
    installations_url: SecretStr | None = Field(
        None,
        alias="SLACK_INSTALLATIONS_URL",
        description="The database for the tokens of these workspaces, as a SQLAlchemy URL; by "
        "default SQLite in the data folder.",
    )
    config_token: Secret | None = Field(
        None,
        alias="SLACK_CONFIG_TOKEN",
        description="An app configuration token (xoxe.xoxp-...), with which `threadwax doctor "
        "slack` also checks the event subscriptions. The adapter does not need it.",
    )
    allow_users: People = Field(
        "",
        alias="SLACK_ALLOW_USERS",
        description="The ids of the only users whom the bot answers. By default it answers every "
        "full member of the workspace. The list must not be empty.",
    )
    deny_users: People = Field(
        "", alias="SLACK_DENY_USERS", description="The ids of users whom the bot does not answer."
    )
    allow_channels: Channels = Field(
        "",
        alias="SLACK_ALLOW_CHANNELS",
        description="The ids of the only channels in which the bot answers; it also answers "
        "direct messages. By default it answers wherever it is invited. The list must not be "
        "empty.",
    )
    deny_channels: Channels = Field(
        "",
        alias="SLACK_DENY_CHANNELS",
        description="The ids of channels in which the bot does not answer.",
    )
    allow_external: bool = Field(
        default=False,
        alias="SLACK_ALLOW_EXTERNAL",
        description="Whether the bot answers people of other workspaces (Slack Connect).",
    )
    allow_guests: bool = Field(
        default=False,
        alias="SLACK_ALLOW_GUESTS",
        description="Whether the bot answers guests of the workspace.",
    )
    allow_bots: bool = Field(
        default=False,
        alias="SLACK_ALLOW_BOTS",
        description="Whether the bot answers other bots that mention it. Two bots may talk to "
        "each other forever.",
    )
    follow_up: Annotated[FollowUp, AnyCase] = Field(
        "asker",
        alias="SLACK_FOLLOW_UP",
        description="Whom the bot answers without a mention in a thread where it has been asked: "
        "everybody (always), only people who have asked it there (asker), or nobody (mention).",
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
        description="An answer that was visible for this many seconds while it grew ends as a new "
        "message, because Slack does not notify anybody of an edit; 0: never.",
    )
    edit_asks_again: bool = Field(
        default=False,
        alias="SLACK_EDIT_ASKS_AGAIN",
        description="Whether editing an answered question asks it again.",
    )
    link_hosts: str = Field(
        "",
        alias="SLACK_LINK_HOSTS",
        description="Hosts, separated by commas, whose links stay clickable while an answer is "
        "streamed, including those of subdomains. Other links that the user did not write are "
        "shown as https[:]//...",
    )
    channels: Annotated[
        dict[str, ChannelSettings], NoDecode, BeforeValidator(from_json), AfterValidator(_by_id)
    ] = Field(
        {},
        alias="SLACK_CHANNELS",
        description="Persona and model by the id of a channel, or by dm for direct messages, as "
        'JSON: {"C0123": {"persona": "You are terse.", "model": "gpt-x"}}',
    )
    suggestions: Annotated[tuple[str, ...], NoDecode, BeforeValidator(from_json)] = Field(
        (),
        max_length=4,
        alias="SLACK_SUGGESTIONS",
        description="Up to 4 questions that Slack suggests when somebody opens a direct message, "
        'as JSON: ["What can you do?"]',
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
