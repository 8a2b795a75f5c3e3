"""Slash commands: each is one payload with one response, which only its person sees.

Slack never delivers a command again, so each must end with a response that says what happened.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from slack_bolt.async_app import AsyncApp

from bots.privacy import choice_of, confirmation_of, settings_of
from bots.slack.answer_blocks import forget_question
from bots.slack.context import Context
from bots.slack.errors import CALL_ERRORS
from bots.slack.markup import plain
from bots.slack.origin import Origin
from bots.slack.payloads import text
from bots.slack.wording import (
    ELSEWHERE,
    EXPORTING,
    FORGET,
    FORGOTTEN,
    HELP,
    NOT_NOW,
    OVER_QUOTA,
    PRIVACY,
    TOO_LONG,
)
from shared.bus import OverQuota, StoreFull, TooLarge
from shared.connection import Unavailable
from shared.messages import Ask, Configure, Reset

Response = dict[str, Any]
"""The response to a slash command: the arguments of Bolt's `ack`."""


class Commands:
    """Listens to slash commands, which are recognized by the end of their names."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def register(self, app: AsyncApp) -> None:
        """Registers the listener with Bolt."""

        @app.command(re.compile("^/"))
        async def command(ack: Any, body: dict[str, Any]) -> None:
            await ack(**await self.command(body))

    async def command(self, body: Mapping[str, Any]) -> Response:
        """Carries out a command; returns what its person reads."""
        name = text(body, "command").lower()
        if name.endswith("help"):
            return {"text": HELP}
        try:
            return await self._command(body, name)
        except (Unavailable, StoreFull, *CALL_ERRORS):
            return {"text": NOT_NOW}
        except (ValidationError, TooLarge):
            return {"text": TOO_LONG}
        except OverQuota:
            return {"text": OVER_QUOTA}

    async def _command(self, body: Mapping[str, Any], name: str) -> Response:
        context = self._context
        workspace = await context.workspace_of(body)
        # Commands have no thread: all of them in a channel belong to one conversation.
        origin = Origin(workspace, text(body, "channel_id"), text(body, "user_id"))
        place = await context.place(origin)
        refusal = await context.refusal(origin, place)
        if refusal is not None:
            return {"text": refusal}
        common: dict[str, Any] = {
            "id": origin.event_id("command", text(body, "trigger_id")),
            "user": origin.bus_user, "place": place, "said_at": datetime.now(UTC),
        }  # fmt: skip
        if name.endswith("reset"):
            await context.publish(Reset(**common))
            return {"text": FORGOTTEN}
        if name.endswith("export"):
            context.own_history.begin(origin)
            return {"text": EXPORTING}
        if name.endswith("forget"):
            return {"text": FORGET, "blocks": forget_question(origin.user)}
        typed = text(body, "text")
        if name.endswith("privacy"):
            return {"text": await self._privacy(common, typed)}
        return await self._ask(origin, common, typed, name)

    async def _ask(
        self, origin: Origin, common: Mapping[str, Any], typed: str, name: str
    ) -> Response:
        context, workspace, place = self._context, origin.workspace, common["place"]
        names = await context.directory.names(workspace, typed)
        words = plain(typed, names, without=workspace.bot_user)
        if not words:
            return {"text": f"Write your question after the command: {name} What is wax? {HELP}"}
        own = context.channel_settings(place)
        context.remember_links(words, common["id"])
        await context.publish(
            Ask(
                **common,
                address=origin.address(),
                text=words,
                persona=own.persona,
                model=own.model,
                roles=await context.roles(origin),
            )
        )
        if origin.channel.startswith("D") and place.audience != "direct":
            return {"text": ELSEWHERE}
        # Shows the command in the channel, so that the answer has its question above it.
        return {"response_type": "in_channel"}

    async def _privacy(self, common: Mapping[str, Any], typed: str) -> str:
        if (choice := choice_of(typed)) is None:
            return PRIVACY
        await self._context.publish(Configure(**common, settings=settings_of(choice)))
        return confirmation_of(choice)
