"""Runs the Slack adapter as a process; checks first that its settings are complete."""

import secrets
from typing import Final

from bots.adapter import CANNOT_RUN, Adapter, run_adapter
from bots.platform import Publish
from bots.slack.platform import Slack
from bots.slack.settings import SlackSettings
from bots.slack.tokens import misplaced
from shared import lifecycle
from shared.bus import Bus
from shared.receipts import Receipts
from shared.settings import Settings

MISSING: Final = (
    "Slack needs SLACK_BOT_TOKEN and SLACK_APP_TOKEN (Socket Mode), or SLACK_SIGNING_SECRET with "
    "SLACK_BOT_TOKEN or SLACK_CLIENT_ID and SLACK_CLIENT_SECRET (HTTP): docs/slack.md"
)


def main(settings: Settings, slack: SlackSettings) -> int:
    """Runs the adapter until a signal stops it; returns the exit code."""
    can_listen = slack.app_token is not None or slack.signing_secret is not None
    if not can_listen or (slack.bot_token is None and not slack.with_oauth):
        lifecycle.say(MISSING)
        return CANNOT_RUN
    if wrong := misplaced(slack):
        lifecycle.say(f"{'; '.join(wrong)}. docs/slack.md")
        return CANNOT_RUN
    url = slack.installations_url
    where = url.get_secret_value() if url else f"sqlite:///{settings.home / 'slack.sqlite3'}"
    if slack.with_oauth:
        from bots.slack.installations import database_fault  # noqa: PLC0415  (large)

        if fault := database_fault(where):
            lifecycle.say(f"SLACK_INSTALLATIONS_URL cannot be used: {fault}")
            return CANNOT_RUN

    async def make(bus: Bus, publish: Publish) -> Adapter:
        return Slack(
            bus, publish, slack, installations_url=where, budgets=settings.budgets,
            receipts=Receipts(bus, "slack", owner=secrets.token_hex(8)),
        )  # fmt: skip

    return run_adapter(settings, "slack", make, redundant=True)
