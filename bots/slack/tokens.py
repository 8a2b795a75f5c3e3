"""Recognizes tokens in the wrong setting by their prefixes. Pure: it must never show a token.

A token with an unknown prefix counts as right, because emulators invent their own.
"""

from typing import Final

from pydantic import SecretStr

from bots.slack.settings import SlackSettings

_KINDS: Final = {
    "xapp-": "an app-level token", "xoxb-": "a bot token", "xoxp-": "a user token",
    "xoxe.xoxp-": "an app configuration token", "xoxe-": "a refresh token",
}  # fmt: skip
"""https://docs.slack.dev/authentication/tokens"""

SWAPPED: Final = (
    "SLACK_BOT_TOKEN holds the app-level token, and SLACK_APP_TOKEN the bot token: swap them"
)


def misplaced(settings: SlackSettings) -> list[str]:
    """What is wrong with the tokens, and what to do about it; empty if they may be right."""
    bot = _kind(settings.bot_token, "xoxb-")
    app = _kind(settings.app_token, "xapp-")
    if (bot, app) == ("xapp-", "xoxb-"):
        return [SWAPPED]
    wrong = [("SLACK_BOT_TOKEN", bot, "xoxb-"), ("SLACK_APP_TOKEN", app, "xapp-")]
    return [
        f"{name} holds {_KINDS[kind]} ({kind}...): copy the one that begins with {right}"
        for name, kind, right in wrong
        if kind
    ]


def _kind(token: SecretStr | None, right: str) -> str:
    """The prefix of a token that belongs elsewhere; empty if the token may be right."""
    shown = token.get_secret_value() if token else ""
    return next((kind for kind in _KINDS if kind != right and shown.startswith(kind)), "")
