"""What people do without words: slash commands, buttons, reactions, Slack's own Stop.

Returns only when the event is stored. A button works for the person who asked; it carries whose
question it belongs to, so that it goes on working after a restart.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

from pydantic import ValidationError

from bots.slack.answer_blocks import AGAIN, DOWN, RATE, STOP, UP
from bots.slack.api import CALL_ERRORS, NOTHING_THERE, code_of, ignoring
from bots.slack.context import (
    ELSEWHERE,
    FORGOTTEN,
    HELP,
    NOT_NOW,
    NOT_YOURS,
    OVER_QUOTA,
    TOO_LONG,
    Desk,
)
from bots.slack.events import event_id, is_ts, said_at
from bots.slack.markup import plain
from bots.slack.metadata import note_of
from bots.slack.payloads import EMPTY, mapping, mappings, text, value
from bots.slack.workspaces import Team
from shared.bus import OverQuota, StoreFull, TooLarge
from shared.connection import Unavailable
from shared.log import logger
from shared.messages import Again, AnyEvent, Ask, Rate, Reset, Stop

Response = dict[str, str]
"""What a slash command answers: the arguments of Bolt's `ack`."""

Thumb = Literal["up", "down", "none"]

SUGGESTIONS: Final = 4
"""More are refused by Slack."""

_THUMBS: Final[dict[str, Thumb]] = {
    "+1": "up",
    "thumbsup": "up",
    "-1": "down",
    "thumbsdown": "down",
}


class Gestures:
    """The listening to everything else."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def command(self, body: Mapping[str, Any]) -> Response:
        """A slash command, whatever its name ends with; it is never delivered twice."""
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
        desk = self._desk
        channel, user = text(body, "channel_id"), text(body, "user_id")
        team = await desk.team_of(body)
        # Outside threads: all that is asked so in a channel belongs together.
        place = await desk.place(team, channel, "", user)
        refusal = await desk.refusal(team, place, user)
        if refusal is not None:
            return {"text": refusal}
        common: dict[str, Any] = {
            "id": event_id(team.id, channel, "command", text(body, "trigger_id")),
            "user": desk.user(team, user), "place": place, "said_at": datetime.now(UTC),
        }  # fmt: skip
        if name.endswith("reset"):
            await desk.publish(Reset(**common))
            return {"text": FORGOTTEN}
        typed = text(body, "text")
        words = plain(typed, await desk.lookup.names(team, typed), without=team.bot_user)
        if not words:
            return {"text": f"Usage: {name} your question. {HELP}"}
        own = desk.channel_settings(place)
        desk.note_links(words, common["id"])
        address = desk.address(team, channel, "", "", user)
        await desk.publish(
            Ask(**common, address=address, text=words, persona=own.persona, model=own.model)
        )
        if channel.startswith("D") and place.audience != "direct":
            return {"text": ELSEWHERE}
        # Shows the command to the channel, as the question that the answer belongs to.
        return {"response_type": "in_channel"}

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
        desk = self._desk
        team = await desk.team_of(body)
        if owner != user:
            await desk.notices.send(team, channel, user, NOT_YOURS, thread)
            return
        # What was asked with a slash command has no thread: its new answer goes below the old one.
        root = thread or (ts if action == AGAIN else "")
        place = await desk.place(team, channel, root, user)
        if (refusal := await desk.refusal(team, place, user)) is not None:
            await desk.notices.send(team, channel, user, refusal, thread)
            return
        common: dict[str, Any] = {
            "user": desk.user(team, user), "place": place,
            "address": desk.address(team, channel, root, ts, user),
            "said_at": said_at(stamp), "prompt_id": prompt_id,
        }  # fmt: skip
        if action == STOP:
            event: AnyEvent = Stop(id=event_id(team.id, channel, "stop", stamp), **common)
        elif action == AGAIN:
            # Named by the click, not by the message: the first new answer may have failed.
            event = Again(id=event_id(team.id, channel, "again", stamp), **common)
        elif action == RATE:
            event = Rate(id=event_id(team.id, channel, "rate", stamp), thumb=thumb, **common)
        else:
            return
        new = await desk.stored(team, event, user, thread, about=f"{event.id}/{stamp}")
        if action == AGAIN and new not in {None, False}:
            desk.status.begin(team, channel, root, event.id)

    async def reaction(self, body: Mapping[str, Any]) -> None:
        """A thumb as a reaction to an answer, given or taken back."""
        event = mapping(body, "event")
        item, user = mapping(event, "item"), text(event, "user")
        thumb = _THUMBS.get(text(event, "reaction").partition("::")[0])
        channel, ts, stamp = text(item, "channel"), text(item, "ts"), text(event, "event_ts")
        if thumb is None or text(item, "type") != "message" or not channel or not user:
            return
        if not is_ts(stamp) or not is_ts(ts):
            return
        desk = self._desk
        team = await desk.team_of(body)
        if text(event, "item_user") != team.bot_user:
            return
        prompt_id, thread = await self._answered(team, channel, ts, user)
        if not prompt_id:
            return
        place = await desk.place(team, channel, thread, user)
        if await desk.refusal(team, place, user) is not None:
            return
        rate = Rate(
            id=event_id(team.id, channel, "rate", stamp),
            user=desk.user(team, user),
            place=place,
            address=desk.address(team, channel, thread, ts, user),
            said_at=said_at(stamp),
            prompt_id=prompt_id,
            thumb=thumb if event.get("type") == "reaction_added" else "none",
        )
        await desk.stored(team, rate, user, thread)

    async def _answered(self, team: Team, channel: str, ts: str, user: str) -> tuple[str, str]:
        """The question that a message of ours answers, and its thread; empty if not this user's."""
        try:
            message = await self._desk.lookup.message(team, channel, ts)
        except CALL_ERRORS as error:
            if code_of(error) in NOTHING_THERE:
                return "", ""
            raise Unavailable("Slack does not say now what was rated") from error
        note = note_of(message or EMPTY, team.bot_user)
        if note is None or note.asker != user:
            return "", ""
        return note.prompt_id, text(message, "thread_ts")

    async def stopped(self, body: Mapping[str, Any]) -> None:
        """Slack's own Stop button: the session stays "processing" until we leave that state."""
        event = mapping(body, "event")
        channel, user = text(event, "channel"), text(event, "user")
        thread, stamp = text(event, "thread_ts"), text(event, "event_ts")
        if not channel or not user or not is_ts(stamp):
            return
        desk = self._desk
        team = await desk.team_of(body)
        name = event_id(team.id, channel, "stopped", stamp)
        place = await desk.place(team, channel, thread, user)
        stop = Stop(id=name, user=desk.user(team, user), place=place, said_at=said_at(stamp))
        await desk.stored(team, stop, user, thread)
        desk.status.clear(team, channel, thread, name)

    async def opened(self, body: Mapping[str, Any]) -> None:
        """Somebody opened the direct message: suggests what can be asked."""
        event = mapping(body, "event")
        suggestions = self._desk.settings.suggestions[:SUGGESTIONS]
        if text(event, "tab") != "messages" or not suggestions:
            return
        team = await self._desk.team_of(body)
        prompts = [{"title": words[:75], "message": words} for words in suggestions]
        await ignoring(
            team.client.assistant_threads_setSuggestedPrompts(
                channel_id=text(event, "channel"), prompts=prompts
            )
        )

    async def removed(self, body: Mapping[str, Any]) -> None:
        """A workspace removed the app, or revoked its tokens."""
        event = mapping(body, "event")
        if text(event, "type") == "tokens_revoked" and not value(event, "tokens", "bot"):
            return  # a user's own token, of which we keep none
        team = text(body, "team_id")
        await self._desk.teams.forget(team, text(body, "enterprise_id") or None)
        logger().warning("a workspace removed the app", team=team)
