"""Carries out what users do on the fake Slack."""

import asyncio
from typing import Any

from bots.slack.ids import event_id
from tests.chaos.files import DATA
from tests.chaos.plan import Act
from tests.chaos.said import Said, Spot
from tests.fakes.slack import BOT, GROUP, ROOM, SECRET_ROOM, TEAM, FakeSlack
from tests.fakes.slack_delivery import Delivery
from tests.fakes.slack_rules import labels, rendered

CHANNELS = {"room": ROOM, "secret": SECRET_ROOM, "group": GROUP, "command": ROOM}
AUDIENCES = {"room": "public", "command": "public", "secret": "private", "group": "private"}
AGAIN_S = 0.1


class SlackUsers:
    """All users of the workspace. `said`: the acts of all platforms by number."""

    def __init__(self, slack: FakeSlack, said: dict[int, Said]) -> None:
        self._slack = slack
        self._said = said
        self._messages: dict[int, tuple[str, str]] = {}

    async def do(self, act: Act) -> None:
        """Carries out an act. Returns when Slack has delivered its events or has given up."""
        match act.what:
            case "ask" | "chatter":
                await (
                    self._command(act, "/ask", text_of(act))
                    if act.where == "command"
                    else self._say(act)
                )
            case "edit":
                self._edit(act)
            case "delete":
                self._delete(act)
            case "stop":
                await self._stop(act)
            case "reset":
                if act.how == "text":
                    await self._write(act, self._in_thread(act), "!reset", mention=True)
                else:
                    await self._command(act, "/reset", "")
            case "again":
                await self._again(act)

    def _channel(self, act: Act) -> str:
        if act.where == "direct":
            return self._slack.direct(act.who)
        return CHANNELS[act.where]

    def _in_thread(self, act: Act) -> str:
        """Returns the thread of the act's target, or "" at the top level of a channel."""
        if act.target is None:
            return ""
        return self._said[act.target].spot.thread

    def _spot(self, act: Act, thread: str) -> Spot:
        audience: Any = AUDIENCES.get(act.where, "direct")
        channel = self._channel(act)
        space = TEAM if audience == "direct" else f"{TEAM}/{channel}"
        return Spot("slack", space, channel, thread, audience)

    def _note(self, act: Act, thread: str) -> Said:
        spot = self._spot(act, thread)
        said = Said(act, spot, f"slack/{spot.channel}/{thread}")
        self._said[act.number] = said
        return said

    # --- messages and commands ------------------------------------------------------------------

    async def _say(self, act: Act) -> None:
        thread = self._in_thread(act)
        first = not thread or act.how == "with a mention"
        mention = first and act.where != "direct" and act.what == "ask"
        await self._write(act, thread, text_of(act), mention=mention)

    async def _write(self, act: Act, thread: str, text: str, *, mention: bool) -> None:
        slack, channel = self._slack, self._channel(act)
        if mention and act.where != "direct":
            text = f"<@{BOT}> {text}"
        files = {}
        if act.file:
            files = {"subtype": "file_share", "files": [slack.file(act.file, *DATA[act.file])]}
        ts = slack.say(text, channel=channel, user=act.who, thread=thread or None, **files)
        said = self._note(act, thread or ts)
        said.event_id = event_id(TEAM, channel, ts)
        self._messages[act.number] = (channel, ts)
        # Captured as written: a later edit must not change the events of the original message.
        events = slack.events_of(channel, ts)
        await asyncio.sleep(act.late_s)
        deliveries = await asyncio.gather(
            *(self._deliver(event, n) for event in events for n in range(act.repeats + 1))
        )
        said.accepted = any(d.acked_at is not None for d in deliveries)
        said.done = True

    async def _deliver(self, event: dict[str, Any], number: int) -> Delivery:
        await asyncio.sleep(number * AGAIN_S)
        return await self._slack.deliver(event)

    async def _command(self, act: Act, command: str, text: str) -> None:
        said = self._note(act, "")
        channel = self._channel(act)
        delivery = await self._slack.command(command, text, channel=channel, user=act.who)
        taken = {"response_type": "in_channel"} if command == "/ask" else None
        said.accepted = delivery.acked_at is not None and delivery.response == taken
        said.done = True

    # --- actions on earlier messages ------------------------------------------------------------

    def _edit(self, act: Act) -> None:
        assert act.target is not None
        said = self._note(act, self._in_thread(act))
        where = self._messages.get(act.target)
        if where is not None and where[1] in self._slack.messages[where[0]]:
            old = self._slack.messages[where[0]][where[1]]["text"]
            self._slack.edit(*where, f"{old} edited")
        said.done = True

    def _delete(self, act: Act) -> None:
        assert act.target is not None
        said = self._note(act, self._in_thread(act))
        where = self._messages.get(act.target)
        if where is not None and where[1] in self._slack.messages[where[0]]:
            self._slack.delete(*where)
        said.done = True

    async def _stop(self, act: Act) -> None:
        thread, channel = self._in_thread(act), self._channel(act)
        if act.how == "text" and thread:
            await self._write(act, thread, "!stop", mention=False)
            return
        said = self._note(act, thread)
        if act.how == "native":
            self._slack.press_stop(channel, thread, user=act.who)
        elif act.how == "button":
            await self._click(act, "Stop")
        said.done = True

    async def _again(self, act: Act) -> None:
        said = self._note(act, self._in_thread(act))
        await self._click(act, "Again")
        said.done = True

    async def _click(self, act: Act, label: str) -> None:
        """Clicks the button below the answer to the act's target, if there is one."""
        target = self._said[act.target or 0]
        channel, thread = target.spot.channel, target.spot.thread
        for message in self._slack.bot_messages(channel, thread or None):
            if target.act.marker in rendered(message).split() and label in labels(message):
                await self._slack.click(channel, message["ts"], label, user=act.who)
                return


def text_of(act: Act) -> str:
    """Returns the text of an act: its marker and a few words."""
    if act.what == "chatter":
        return f"{act.marker} is what I think"
    return f"{act.marker} please tell{' at length' if act.long else ''}"
