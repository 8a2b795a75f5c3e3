"""What people do besides writing: buttons, reactions, Slack's own Stop, opening the conversation.

A listener returns only when the event is stored. A button works only for the person who asked. Its
value names the question, so it keeps working after a restart.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from slack_bolt.async_app import AsyncApp

from bots.slack import answer_blocks
from bots.slack.answer_blocks import AGAIN, DOWN, FORGET, RATE, UP
from bots.slack.api import ignoring_failures
from bots.slack.context import Context
from bots.slack.corrections import Corrections
from bots.slack.errors import CALL_ERRORS, NOTHING_THERE, code_of
from bots.slack.ids import is_ts, said_at
from bots.slack.metadata import read_metadata
from bots.slack.origin import Origin
from bots.slack.payloads import EMPTY, mapping, mappings, text, value
from bots.slack.wording import ERASING, NOT_YOURS
from shared.connection import Unavailable
from shared.log import logger
from shared.messages import Again, AnyEvent, Forget, Rate, Stop

Thumb = Literal["up", "down", "none"]

SUGGESTIONS: Final = 4
"""Slack's limit."""

SUGGESTION_TITLE_CHARS: Final = 75

_THUMBS: Final[dict[str, Thumb]] = {
    "+1": "up",
    "thumbsup": "up",
    "-1": "down",
    "thumbsdown": "down",
}


class Interactions:
    """Listens to everything that people do except writing messages and commands."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._corrections = Corrections(context)

    def register(self, app: AsyncApp) -> None:
        """Registers the listeners with Bolt."""
        self._corrections.register(app)
        for name in ("reaction_added", "reaction_removed"):
            app.event(name)(self.reaction)
        for name in ("app_uninstalled", "tokens_revoked"):
            app.event(name)(self.removed)
        app.event("agent_session_stopped")(self.stopped)
        app.event("app_home_opened")(self.opened)

        @app.action(re.compile("^threadwax_"))
        async def button(ack: Any, body: dict[str, Any]) -> None:
            await self.button(body)
            await ack()

    async def button(self, body: Mapping[str, Any]) -> None:
        """Stop, Again or a thumb below one of our messages."""
        pressed = next(iter(mappings(body, "actions")), EMPTY)
        action, carried = text(pressed, "action_id"), text(pressed, "value")
        container = mapping(body, "container")
        channel = text(body, "channel", "id") or text(container, "channel_id")
        user, thread = text(body, "user", "id"), text(container, "thread_ts")
        ts, stamp = text(container, "message_ts"), text(pressed, "action_ts")
        thumb: Thumb = "up"
        if action == RATE:
            found, _, carried = carried.partition("|")
            thumb = "up" if found == UP else "down" if found == DOWN else "none"
        owner, _, prompt_id = carried.partition("|")
        if not prompt_id or not channel or not user or not is_ts(stamp) or not is_ts(ts):
            return
        context = self._context
        shown = Origin(await context.workspace_of(body), channel, user, thread)
        if owner != user:
            await context.notices.send(shown, NOT_YOURS, surely=True)
            return
        # The answer to a slash command has no thread: the new answer goes below the old one.
        origin = shown.with_thread(thread or (ts if action == AGAIN else ""))
        place = await context.place(origin)
        if (refusal := await context.refusal(origin, place)) is not None:
            await context.notices.send(shown, refusal, surely=True)
            return
        common: dict[str, Any] = {
            "user": origin.bus_user, "place": place, "said_at": said_at(stamp),
            "prompt_id": prompt_id,
            # Nothing can refer to the message of FORGET, which is shown to one person only.
            "address": origin.address("" if action == FORGET else ts),
        }  # fmt: skip
        event = _pressed(action, thumb, lambda kind: origin.event_id(kind, stamp), common)
        if event is None:
            return
        stored = await context.store_event(event, shown, about=f"{event.id}/{stamp}")
        if action == AGAIN and stored == "new":
            context.working.begin(origin, event.id)
        if action == FORGET and stored == "new":
            await context.notices.send(shown, ERASING, surely=True)
        if isinstance(event, Rate) and event.thumb == "down" and stored == "new":
            await self._corrections.ask(event, shown, text(body, "trigger_id"))

    async def reaction(self, body: Mapping[str, Any]) -> None:
        """A thumb as a reaction to an answer, added or removed."""
        event = mapping(body, "event")
        item, user = mapping(event, "item"), text(event, "user")
        thumb = _THUMBS.get(text(event, "reaction").partition("::")[0])
        channel, ts, stamp = text(item, "channel"), text(item, "ts"), text(event, "event_ts")
        if thumb is None or text(item, "type") != "message" or not channel or not user:
            return
        if not is_ts(stamp) or not is_ts(ts):
            return
        context = self._context
        workspace = await context.workspace_of(body)
        if text(event, "item_user") != workspace.bot_user:
            return
        prompt_id, thread = await self._answered(Origin(workspace, channel, user), ts)
        if not prompt_id:
            return
        origin = Origin(workspace, channel, user, thread)
        place = await context.place(origin)
        if await context.refusal(origin, place) is not None:
            return
        rate = Rate(
            id=origin.event_id("rate", stamp),
            user=origin.bus_user,
            place=place,
            address=origin.address(ts),
            said_at=said_at(stamp),
            prompt_id=prompt_id,
            thumb=thumb if event.get("type") == "reaction_added" else "none",
        )
        await context.store_event(rate, origin)

    async def _answered(self, origin: Origin, ts: str) -> tuple[str, str]:
        """The question that a message of ours answers, and its thread; empty if another's."""
        try:
            message = await self._context.directory.message(origin, ts)
        except CALL_ERRORS as error:
            if code_of(error) in NOTHING_THERE:
                return "", ""
            raise Unavailable("Slack cannot be asked now which answer was rated") from error
        metadata = read_metadata(message or EMPTY, origin.workspace.bot_user)
        if metadata is None or metadata.asker != origin.user:
            return "", ""
        return metadata.prompt_id, text(message, "thread_ts")

    async def stopped(self, body: Mapping[str, Any]) -> None:
        """Slack's own Stop button: the session stays "processing" until we change its state."""
        event = mapping(body, "event")
        channel, user = text(event, "channel"), text(event, "user")
        thread, stamp = text(event, "thread_ts"), text(event, "event_ts")
        if not channel or not user or not is_ts(stamp):
            return
        context = self._context
        origin = Origin(await context.workspace_of(body), channel, user, thread)
        stop = Stop(
            id=origin.event_id("stopped", stamp),
            user=origin.bus_user,
            place=await context.place(origin),
            said_at=said_at(stamp),
        )
        await context.store_event(stop, origin)
        context.working.clear(origin, stop.id)

    async def opened(self, body: Mapping[str, Any]) -> None:
        """Somebody opened the direct message: suggests prompts."""
        event = mapping(body, "event")
        suggestions = self._context.settings.suggestions[:SUGGESTIONS]
        if text(event, "tab") != "messages" or not suggestions:
            return
        workspace = await self._context.workspace_of(body)
        prompts = [
            {"title": words[:SUGGESTION_TITLE_CHARS], "message": words} for words in suggestions
        ]
        await ignoring_failures(
            workspace.client.assistant_threads_setSuggestedPrompts(
                channel_id=text(event, "channel"), prompts=prompts
            )
        )

    async def removed(self, body: Mapping[str, Any]) -> None:
        """A workspace removed the app, or revoked its tokens."""
        event = mapping(body, "event")
        if text(event, "type") == "tokens_revoked" and not value(event, "tokens", "bot"):
            return  # a user's token, which we do not keep
        team = text(body, "team_id")
        await self._context.workspaces.forget(team, text(body, "enterprise_id") or None)
        logger().warning("app removed from workspace", team=team)


def _pressed(
    action: str, thumb: Thumb, new_id: Callable[[str], str], common: Mapping[str, Any]
) -> AnyEvent | None:
    """The event of a button; None if it is not ours."""
    match action:
        case answer_blocks.STOP:
            return Stop(id=new_id("stop"), **common)
        case answer_blocks.AGAIN:
            # One event per click, not per message: the first new answer may have failed.
            return Again(id=new_id("again"), **common)
        case answer_blocks.RATE:
            return Rate(id=new_id("rate"), thumb=thumb, **common)
        case answer_blocks.FORGET:
            return Forget(id=new_id("forget"), **common)
        case _:
            return None
