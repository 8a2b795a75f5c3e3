"""Wires Bolt: which of Slack's deliveries goes to which of our listeners.

Bolt acknowledges a delivery after its listener returned, and not at all (500 over HTTP) when the
listener raised: then Slack delivers it again.
"""

import re
from typing import Any, Final

from slack_bolt.async_app import AsyncApp
from slack_bolt.oauth.async_oauth_settings import AsyncOAuthSettings
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

from bots.slack.api import quiet_logger
from bots.slack.gestures import Gestures
from bots.slack.questions import Questions
from bots.slack.teams import Teams
from shared.log import logger

SCOPES: Final = (
    "app_mentions:read", "assistant:write", "channels:history", "channels:read", "chat:write",
    "commands", "files:read", "groups:history", "groups:read", "im:history", "im:read", "im:write",
    "mpim:history", "mpim:read", "reactions:read", "users:read",
)  # fmt: skip
"""What the bot token needs; `manifest.json` asks for the same."""

EVENTS: Final = (
    "agent_session_stopped", "app_home_opened", "app_mention", "app_uninstalled",
    "message.channels", "message.groups", "message.im", "message.mpim", "reaction_added",
    "reaction_removed", "tokens_revoked",
)  # fmt: skip
"""What the app subscribes to; `manifest.json` has the same."""

COMMANDS: Final = ("/ask", "/reset", "/help")


def make_app(  # noqa: C901  (one line a listener)
    client: AsyncWebClient,
    teams: Teams,
    questions: Questions,
    gestures: Gestures,
    oauth: AsyncOAuthSettings | None = None,
) -> AsyncApp:
    """Bolt's app with our listeners; `client` has no token, since `teams` knows them."""
    app = AsyncApp(
        client=client,
        authorize=teams,  # type: ignore[arg-type]  # Bolt takes its own kind, too
        oauth_settings=oauth,
        process_before_response=True,
        # Checked before, with 4xx for what is malformed; Bolt would log the body.
        request_verification_enabled=False,
        signing_secret="",
        logger=quiet_logger(),
    )

    async def message(body: dict[str, Any]) -> None:
        await questions.message(body)

    async def reaction(body: dict[str, Any]) -> None:
        await gestures.reaction(body)

    async def stopped(body: dict[str, Any]) -> None:
        await gestures.stopped(body)

    async def opened(body: dict[str, Any]) -> None:
        await gestures.opened(body)

    async def removed(body: dict[str, Any]) -> None:
        await gestures.removed(body)

    async def other(body: dict[str, Any]) -> None:
        """Acknowledged and not of interest."""
        del body

    for name in ("message", "app_mention"):
        app.event(name)(message)
    for name in ("reaction_added", "reaction_removed"):
        app.event(name)(reaction)
    for name in ("app_uninstalled", "tokens_revoked"):
        app.event(name)(removed)
    app.event("agent_session_stopped")(stopped)
    app.event("app_home_opened")(opened)
    app.event(re.compile(".+"))(other)

    @app.command(re.compile("^/"))
    async def command(ack: Any, body: dict[str, Any]) -> None:
        await ack(**await gestures.command(body))

    @app.action(re.compile("^threadwax_"))
    async def button(ack: Any, body: dict[str, Any]) -> None:
        await gestures.button(body)
        await ack()

    @app.error
    async def failed(error: Exception) -> BoltResponse:
        # Never the error's text: it may hold a message's.
        logger().warning("not acknowledged", why=type(error).__name__)
        return BoltResponse(status=500, body="")

    return app
