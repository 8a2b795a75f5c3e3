"""What people do without words: slash commands, buttons, reactions, Slack's own Stop.

Returns only when the event is stored. A button works for the person who asked; it carries whose
question it belongs to, so that it goes on working after a restart.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

from pydantic import ValidationError

from bots.slack.api import CALL_ERRORS, ignoring
from bots.slack.blocks import AGAIN, DOWN, EVENT_TYPE, RATE, STOP, UP
from bots.slack.desk import FORGOTTEN, HELP, NOT_NOW, NOT_YOURS, TOO_LONG, Desk
from bots.slack.events import event_id, is_ts, said_at
from bots.slack.questions import DIRECT
from bots.slack.settings import ChannelSettings
from bots.slack.teams import Team
from bots.slack.text import plain
from shared.bus import TooLarge
from shared.connection import Unavailable
from shared.log import logger
from shared.messages import Again, Ask, Rate, Reset, Stop

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
        name = str(body.get("command") or "").lower()
        if name.endswith("help"):
            return {"text": HELP}
        try:
            return await self._command(body, name)
        except (Unavailable, *CALL_ERRORS):
            return {"text": NOT_NOW}
        except (ValidationError, TooLarge):
            return {"text": TOO_LONG}

    async def _command(self, body: Mapping[str, Any], name: str) -> Response:
        desk = self._desk
        channel, user = str(body.get("channel_id") or ""), str(body.get("user_id") or "")
        team = await desk.team_of(dict(body))
        refusal = await desk.refusal(team, channel, user)
        if refusal is not None:
            return {"text": refusal}
        # Outside threads: all that is asked so in a channel belongs together.
        place = await desk.place(team, channel, "")
        common: dict[str, Any] = {
            "id": event_id(team.id, channel, "command", str(body.get("trigger_id") or "")),
            "user": desk.user(team, user), "place": place, "said_at": datetime.now(UTC),
        }  # fmt: skip
        if name.endswith("reset"):
            await desk.publish(Reset(**common))
            return {"text": FORGOTTEN}
        typed = str(body.get("text") or "")
        text = plain(typed, await desk.lookup.names(team, typed), without=team.bot_user)
        if not text:
            return {"text": f"Usage: {name} your question. {HELP}"}
        channels = desk.settings.channels
        own = channels.get(DIRECT if channel.startswith("D") else channel) or ChannelSettings()
        desk.note_links(text, common["id"])
        address = desk.address(team, channel, "", "", user)
        await desk.publish(
            Ask(**common, address=address, text=text, persona=own.persona, model=own.model)
        )
        # Shows the command to the channel, as the question that the answer belongs to.
        return {"response_type": "in_channel"}

    async def button(self, body: Mapping[str, Any]) -> None:
        """Stop, Again or a thumb below one of our messages."""
        actions = body.get("actions") or [{}]
        action, value = str(actions[0].get("action_id")), str(actions[0].get("value") or "")
        container = body.get("container") or {}
        channel = str((body.get("channel") or {}).get("id") or container.get("channel_id") or "")
        user = str((body.get("user") or {}).get("id") or "")
        ts, stamp = str(container.get("message_ts") or ""), str(actions[0].get("action_ts") or "")
        thread = str(container.get("thread_ts") or "")
        thumb: Thumb = "up"
        if action == RATE:
            found, _, value = value.partition("|")
            thumb = "up" if found == UP else "down" if found == DOWN else "none"
        owner, _, prompt_id = value.partition("|")
        if not prompt_id or not is_ts(stamp) or not is_ts(ts):
            return
        desk = self._desk
        team = await desk.team_of(dict(body))
        if owner != user:
            desk.tell_once(team, channel, user, NOT_YOURS, thread)
            return
        if (refusal := await desk.refusal(team, channel, user)) is not None:
            desk.tell_once(team, channel, user, refusal, thread)
            return
        # What was asked with a slash command has no thread: its new answer goes below the old one.
        root = thread or (ts if action == AGAIN else "")
        common: dict[str, Any] = {
            "user": desk.user(team, user), "place": await desk.place(team, channel, root),
            "address": desk.address(team, channel, root, ts, user),
            "said_at": said_at(stamp), "prompt_id": prompt_id,
        }  # fmt: skip
        if action == STOP:
            await desk.publish(Stop(id=event_id(team.id, channel, "stop", stamp), **common))
        elif action == AGAIN:
            # Named by the message, so that a second click asks nothing anew.
            name = event_id(team.id, channel, "again", ts)
            if await desk.publish(Again(id=name, **common)) is not False:
                desk.status.begin(team, channel, root, name)
        elif action == RATE:
            name = event_id(team.id, channel, "rate", stamp)
            await desk.publish(Rate(id=name, thumb=thumb, **common))

    async def reaction(self, body: dict[str, Any]) -> None:
        """A thumb as a reaction to an answer, given or taken back."""
        event = body.get("event") or {}
        item, user = event.get("item") or {}, str(event.get("user") or "")
        thumb = _THUMBS.get(str(event.get("reaction")).partition("::")[0])
        stamp, ts = str(event.get("event_ts") or ""), str(item.get("ts") or "")
        if thumb is None or item.get("type") != "message" or not is_ts(stamp) or not is_ts(ts):
            return
        desk = self._desk
        team = await desk.team_of(body)
        if event.get("item_user") != team.bot_user:
            return
        channel = str(item.get("channel") or "")
        prompt_id, thread = await self._answered(team, channel, ts, user)
        if not prompt_id or await desk.refusal(team, channel, user) is not None:
            return
        await desk.publish(
            Rate(
                id=event_id(team.id, channel, "rate", stamp),
                user=desk.user(team, user),
                place=await desk.place(team, channel, thread),
                address=desk.address(team, channel, thread, ts, user),
                said_at=said_at(stamp),
                prompt_id=prompt_id,
                thumb=thumb if event.get("type") == "reaction_added" else "none",
            )
        )

    async def _answered(self, team: Team, channel: str, ts: str, user: str) -> tuple[str, str]:
        """The question that a message of ours answers, and its thread; empty if not this user's."""
        try:
            message = await self._desk.lookup.message(team, channel, ts)
        except CALL_ERRORS as error:
            raise Unavailable("Slack does not say now what was rated") from error
        metadata = (message or {}).get("metadata") or {}
        payload = metadata.get("event_payload") or {}
        if metadata.get("event_type") != EVENT_TYPE or payload.get("asker") != user:
            return "", ""
        prompt_id = str(payload.get("key") or "").rpartition(".")[0]
        return prompt_id, str((message or {}).get("thread_ts") or "")

    async def stopped(self, body: dict[str, Any]) -> None:
        """Slack's own Stop button: the session stays "processing" until we leave that state."""
        event = body.get("event") or {}
        channel, user = str(event.get("channel") or ""), str(event.get("user") or "")
        thread, stamp = str(event.get("thread_ts") or ""), str(event.get("event_ts") or "")
        if not channel or not user or not is_ts(stamp):
            return
        desk = self._desk
        team = await desk.team_of(body)
        name = event_id(team.id, channel, "stopped", stamp)
        place = await desk.place(team, channel, thread)
        await desk.publish(
            Stop(id=name, user=desk.user(team, user), place=place, said_at=said_at(stamp))
        )
        desk.status.clear(team, channel, thread, name)

    async def opened(self, body: dict[str, Any]) -> None:
        """Somebody opened the direct message: suggests what can be asked."""
        event = body.get("event") or {}
        suggestions = self._desk.settings.suggestions[:SUGGESTIONS]
        if event.get("tab") != "messages" or not suggestions:
            return
        team = await self._desk.team_of(body)
        prompts = [{"title": text[:75], "message": text} for text in suggestions]
        await ignoring(
            team.client.assistant_threads_setSuggestedPrompts(
                channel_id=str(event.get("channel") or ""), prompts=prompts
            )
        )

    async def removed(self, body: dict[str, Any]) -> None:
        """A workspace removed the app, or revoked its tokens."""
        event = body.get("event") or {}
        revoked = event.get("tokens") or {}
        if event.get("type") == "tokens_revoked" and not revoked.get("bot"):
            return  # a user's own token, of which we keep none
        team = str(body.get("team_id") or "")
        await self._desk.teams.forget(team, body.get("enterprise_id"))
        logger().warning("a workspace removed the app", team=team)
