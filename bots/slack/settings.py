"""The settings of the Slack adapter, from environment variables or `.env`, read once at its start.

It must never show a token: those are secrets, and nothing here is logged.
"""

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from bots.slack.threads import FollowUp

DEFAULT_API_URL: Final = "https://slack.com/api/"


class ChannelSettings(BaseModel):
    """What is special about one channel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    persona: str | None = None
    model: str | None = None


class SlackSettings(BaseSettings):
    """Every setting of `threadwax slack`; lists are separated by commas."""

    model_config = SettingsConfigDict(
        # The prefix keeps fields' own names, HOST or TOKEN, from being looked for as variables.
        env_file=".env",
        env_prefix="SLACK_",
        env_ignore_empty=True,
        extra="ignore",
        populate_by_name=True,
    )

    bot_token: SecretStr | None = Field(
        None, alias="SLACK_BOT_TOKEN", description="Slack's bot token (xoxb-...)."
    )
    app_token: SecretStr | None = Field(
        None,
        alias="SLACK_APP_TOKEN",
        description="Slack's app-level token (xapp-...) with connections:write: Socket Mode.",
    )
    signing_secret: SecretStr | None = Field(
        None,
        alias="SLACK_SIGNING_SECRET",
        description="Without an app-level token: Slack's events come over HTTP, signed with this.",
    )
    api_url: str = Field(
        DEFAULT_API_URL, alias="SLACK_API_URL", description="The base URL of Slack's Web API."
    )
    host: str = Field(
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
    client_secret: SecretStr | None = Field(
        None, alias="SLACK_CLIENT_SECRET", description="The OAuth secret of the Slack app."
    )
    installations_url: SecretStr | None = Field(
        None,
        alias="SLACK_INSTALLATIONS_URL",
        description="The database of those installations, as SQLAlchemy writes it; by default "
        "SQLite under the data folder.",
    )
    config_token: SecretStr | None = Field(
        None,
        alias="SLACK_CONFIG_TOKEN",
        description="An app configuration token (xoxe.xoxp-...): `doctor slack` then checks the "
        "event subscriptions, too. The adapter does not need it.",
    )
    allow_users: str = Field(
        "", alias="SLACK_ALLOW_USERS", description="Only these user ids are answered in Slack."
    )
    deny_users: str = Field(
        "", alias="SLACK_DENY_USERS", description="These user ids are not answered in Slack."
    )
    allow_channels: str = Field(
        "",
        alias="SLACK_ALLOW_CHANNELS",
        description="The bot answers in these channel ids only, and in direct messages.",
    )
    deny_channels: str = Field(
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
        description="Whether other bots that mention this one are answered: two can talk for ever.",
    )
    follow_up: FollowUp = Field(
        "asker",
        alias="SLACK_FOLLOW_UP",
        description="Whose messages in a thread with the bot are for it without a mention: "
        "everybody's (always), of those who asked it there (asker), nobody's (mention).",
    )
    streaming: Literal["auto", "native", "update", "off"] = Field(
        "auto",
        alias="SLACK_STREAMING",
        description="How a growing answer shows: Slack's own streams (native), a message that is "
        "edited (update), streams in direct messages and edits elsewhere (auto), or not at all.",
    )
    new_message_after_s: float = Field(
        60.0,
        alias="SLACK_NEW_MESSAGE_AFTER_S",
        ge=0,
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
    channels: dict[str, ChannelSettings] = Field(
        {},
        alias="SLACK_CHANNELS",
        description="Persona and model by channel id (dm: direct messages), as JSON: "
        '{"C0123": {"persona": "You are terse.", "model": "gpt-x"}}',
    )
    suggestions: tuple[str, ...] = Field(
        (),
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


def listed(text: str) -> frozenset[str]:
    """The entries of a setting that is a list."""
    return frozenset(filter(None, (entry.strip() for entry in text.split(","))))
