"""Makes Bolt's app and decides how deliveries are acknowledged.

Bolt acknowledges a delivery after its listener returned. A delivery that may be stored later is
answered with 500, so that Slack sends it again. One that fails for good must be acknowledged.
"""

import contextlib
import re
from typing import Any, Final

from slack_bolt.async_app import AsyncApp
from slack_bolt.oauth.async_oauth_settings import AsyncOAuthSettings
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

from bots.platform import Gone, PostError
from bots.slack.api import quiet_logger
from bots.slack.context import Context
from bots.slack.deliveries import PERMANENT, line_of
from bots.slack.errors import CALL_ERRORS
from bots.slack.events import person_in
from bots.slack.origin import Origin
from bots.slack.payloads import mapping, text
from bots.slack.wording import NOT_UNDERSTOOD
from shared.log import logger

_ANYTHING: Final = re.compile(".+")


def make_app(
    client: AsyncWebClient, context: Context, oauth: AsyncOAuthSettings | None = None
) -> AsyncApp:
    """Bolt's app without listeners; `client` needs no token, since the workspaces have them."""
    app = AsyncApp(
        client=client,
        authorize=context.workspaces,  # type: ignore[arg-type]  # Bolt takes its own kind, too
        oauth_settings=oauth,
        process_before_response=True,
        # `http_events` has checked the signature already; Bolt would log the body.
        request_verification_enabled=False,
        signing_secret="",
        logger=quiet_logger(),
    )

    @app.error
    async def failed(error: Exception, body: dict[str, Any]) -> BoltResponse:
        # Never log the error's text: it may hold a message's.
        if isinstance(error, Gone):
            logger().info("ignored: the app is not installed there")
        elif isinstance(error, PERMANENT):
            logger().error("ignored: it cannot be handled", why=line_of(error))
            await _notify_author(context, body)
        else:
            logger().warning("not acknowledged", why=type(error).__name__)
            return BoltResponse(status=500, body="")
        return BoltResponse(status=200, body="")

    return app


def ignore_other_events(app: AsyncApp) -> None:
    """Acknowledges every event without a listener; call after all listeners are registered."""

    @app.event(_ANYTHING)
    async def ignore(body: dict[str, Any]) -> None:
        del body


async def _notify_author(context: Context, body: dict[str, Any]) -> None:
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
            origin = Origin(await context.workspace_of(body), channel, person)
            await context.notices.send(origin, NOT_UNDERSTOOD, about=about, surely=True)
