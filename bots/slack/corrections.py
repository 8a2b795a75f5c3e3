"""The form in which people say what was wrong with an answer, and what it should have been.

It opens after a thumb down, which is stored before: closing the form changes nothing. Its metadata
names the question, so it keeps working after a restart.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError
from slack_bolt.async_app import AsyncApp

from bots.slack.api import ignoring_failures
from bots.slack.context import Context
from bots.slack.errors import CALL_ERRORS
from bots.slack.origin import Origin
from bots.slack.payloads import mapping, text
from bots.slack.wording import BETTER, CORRECTION, NOT_NOW, OVER_QUOTA, SEND, SKIP, TOO_LONG, WRONG
from shared.bus import OverQuota, StoreFull, TooLarge
from shared.connection import Unavailable
from shared.messages import REASON_LIMIT_CHARS, Rate

FORM: Final = "threadwax_correction"
REASON, BETTER_ANSWER = "reason", "correction"

INPUT_CHARS: Final = 3_000
"""Slack's limit for a text input."""

_TYPED: Final = "typed"

Response = dict[str, Any]
"""The response to a submitted form: the arguments of Bolt's `ack`. Empty: the form closes."""


class Corrections:
    """Opens the form and stores what people write in it."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def register(self, app: AsyncApp) -> None:
        """Registers the listener with Bolt."""

        @app.view(FORM)
        async def submitted(ack: Any, body: dict[str, Any]) -> None:
            await ack(**await self.submitted(body))

    async def ask(self, rate: Rate, origin: Origin, trigger: str) -> None:
        """Opens the form for a rating, if Slack still allows it: within 3 s after the click."""
        view = form_of(rate, origin)
        await ignoring_failures(origin.workspace.client.views_open(trigger_id=trigger, view=view))

    async def submitted(self, body: Mapping[str, Any]) -> Response:
        """Somebody sends the form. If it cannot be stored, it stays open with what they wrote."""
        try:
            await self._store(body)
        except (Unavailable, StoreFull, *CALL_ERRORS):
            return _refused(NOT_NOW)
        except (ValidationError, TooLarge):
            return _refused(TOO_LONG)
        except OverQuota:
            return _refused(OVER_QUOTA)
        return {}

    async def _store(self, body: Mapping[str, Any]) -> None:
        context, view = self._context, mapping(body, "view")
        reason, correction = _words(view, REASON), _words(view, BETTER_ANSWER)
        about = json.loads(text(view, "private_metadata"))
        if not reason and not correction:
            return
        workspace = await context.workspace_of(body)
        origin = Origin(workspace, about["channel"], text(body, "user", "id"), about["thread"])
        place = await context.place(origin)
        if await context.refusal(origin, place) is not None:
            return
        # Sending the same words again stores nothing; after a lost response, they may be others.
        words = hashlib.sha256(f"{reason}\0{correction}".encode()).hexdigest()[:12]
        rate = Rate(
            id=origin.event_id("correction", text(view, "id"), words),
            user=origin.bus_user,
            place=place,
            address=origin.address(about["ts"]),
            said_at=datetime.now(UTC),
            prompt_id=about["prompt_id"],
            thumb="down",
            reason=reason,
            correction=correction,
        )
        await context.publish(rate)


def form_of(rate: Rate, origin: Origin) -> dict[str, Any]:
    """The arguments of `views.open`: two texts, both optional."""
    about = {"channel": origin.channel, "thread": origin.thread,
             "ts": rate.address.get("ts", ""), "prompt_id": rate.prompt_id}  # fmt: skip
    return {
        "type": "modal",
        "callback_id": FORM,
        "title": _plain(CORRECTION),
        "submit": _plain(SEND),
        "close": _plain(SKIP),
        "private_metadata": json.dumps(about),
        "blocks": [
            _input(REASON, WRONG, REASON_LIMIT_CHARS),
            _input(BETTER_ANSWER, BETTER, INPUT_CHARS),
        ],
    }


def _input(name: str, label: str, limit_chars: int) -> dict[str, Any]:
    return {
        "type": "input",
        "block_id": name,
        "optional": True,
        "label": _plain(label),
        "element": {
            "type": "plain_text_input",
            "action_id": _TYPED,
            "multiline": True,
            "max_length": limit_chars,
        },
    }


def _plain(words: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": words}


def _words(view: Mapping[str, Any], name: str) -> str:
    return text(view, "state", "values", name, _TYPED, "value").strip()


def _refused(words: str) -> Response:
    return {"response_action": "errors", "errors": {BETTER_ANSWER: words}}
