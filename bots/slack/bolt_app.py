"""Wires Bolt: which of Slack's deliveries goes to which of our listeners.

Bolt acknowledges a delivery after its listener returned. What may be stored later is answered 500
and not acknowledged, so that Slack delivers it again; what fails for good must be acknowledged.
"""

import contextlib
import re
from typing import Any, Final

from slack_bolt.async_app import AsyncApp
from slack_bolt.oauth.async_oauth_settings import AsyncOAuthSettings
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

from bots.platform import Gone, PostError
from bots.slack.api import CALL_ERRORS, quiet_logger
from bots.slack.context import NOT_UNDERSTOOD, Desk
from bots.slack.deliveries import FOR_GOOD, line_of
from bots.slack.events import person_in
from bots.slack.interactions import Gestures
from bots.slack.messages import Questions
from bots.slack.payloads import mapping, text
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
    desk: Desk,
    questions: Questions,
    gestures: Gestures,
    oauth: AsyncOAuthSettings | None = None,
) -> AsyncApp:
    """Bolt's app with our listeners; `client` has no token, since `desk.teams` knows them."""
    app = AsyncApp(
        client=client,
        authorize=desk.teams,  # type: ignore[arg-type]  # Bolt takes its own kind, too
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
    async def failed(error: Exception, body: dict[str, Any]) -> BoltResponse:
        # Never the error's text: it may hold a message's.
        if isinstance(error, Gone):
            logger().info("ignored: the app is not installed there")
        elif isinstance(error, FOR_GOOD):
            logger().error("ignored: it cannot be handled", why=line_of(error))
            await _say_so(desk, body)
        else:
            logger().warning("not acknowledged", why=type(error).__name__)
            return BoltResponse(status=500, body="")
        return BoltResponse(status=200, body="")

    return app


async def _say_so(desk: Desk, body: dict[str, Any]) -> None:
    """Tells a person that their message or click could not be handled; best effort."""
    event = mapping(body, "event")
    person = person_in(body)
    channel = text(event, "channel") or text(body, "channel_id") or text(body, "channel", "id")
    about = text(event, "ts") or text(body, "trigger_id")
    for_us = (
        not event or text(event, "type") == "app_mention" or text(event, "channel_type") == "im"
    )
    if for_us and person and channel and about:
        with contextlib.suppress(PostError, *CALL_ERRORS):
            team = await desk.team_of(body)
            await desk.notices.send(team, channel, person, NOT_UNDERSTOOD, about=about)
