"""Carries out what users do on the fake Discord."""

import asyncio
from typing import Any

from tests.chaos.files import DATA
from tests.chaos.plan import Act
from tests.chaos.said import Said, Spot
from tests.chaos.slack_users import text_of
from tests.fakes.discord import FakeDiscord
from tests.fakes.discord_shapes import LOADING, Json

AUDIENCES = {"room": "public", "command": "public", "secret": "private", "hush": "private",
             "direct": "direct"}  # fmt: skip
MEMBERS = ("ada", "bob", "self")
"""Members of the private thread `hush`."""

AGAIN_S = 0.1


class DiscordUsers:
    """All users of the Discord server. `said`: the acts of all platforms by number."""

    def __init__(self, discord: FakeDiscord, said: dict[int, Said]) -> None:
        self._discord = discord
        self._said = said
        self._messages: dict[int, int] = {}
        self._tokens: dict[int, str] = {}
        self._hush = 0

    async def do(self, act: Act) -> None:
        """Carries an act out."""
        match act.what:
            case "ask" | "chatter":
                await (self._command(act, "ask") if act.where == "command" else self._say(act))
            case "edit" | "delete":
                await self._change(act)
            case "reset":
                await self._command(act, "reset")
            case "stop" | "again":
                await self._press(act)

    async def _channel(self, act: Act) -> int:
        match act.where:
            case "direct":
                return await self._discord.direct(act.who)
            case "secret":
                return self._discord.secret
            case "hush":
                if not self._hush:
                    self._hush = await self._discord.private_thread("hush", *MEMBERS)
                return self._hush
            case _:
                return self._discord.general

    async def _note(self, act: Act, thread: int) -> Said:
        channel = await self._channel(act)
        thread = channel if act.where == "hush" else thread
        guild = "" if act.where == "direct" else str(self._discord.guild_id)
        audience: Any = AUDIENCES[act.where]
        spot = Spot("discord", guild, str(channel), str(thread or ""), audience)
        said = self._said[act.number] = Said(act, spot, f"discord/{thread or channel}")
        return said

    def _thread(self, act: Act) -> int:
        """Returns the open thread of the act's target, or 0 if there is none."""
        if act.target is None or act.where in {"direct", "command", "hush"}:
            return 0
        thread = int(self._said[act.target].spot.thread or 0)
        return thread if thread in self._discord.channels else 0

    async def _say(self, act: Act) -> None:
        discord = self._discord
        thread, channel = self._thread(act), await self._channel(act)
        mention = act.where != "direct" and not thread
        message = await discord.say(
            text_of(act), author=act.who, channel=thread or channel, mention=mention,
            files={act.file: DATA[act.file][1]} if act.file else None,
        )  # fmt: skip
        opens = 0 if act.where == "direct" else message
        said = await self._note(act, thread or opens)
        self._messages[act.number] = message
        said.event_id = f"discord-{message}"
        for _ in range(act.repeats):
            await asyncio.sleep(AGAIN_S)
            if self._exists(message):
                await discord.redeliver(message)
        # An adapter that was down reads it from the channel's history.
        said.accepted = said.done = True

    async def _command(self, act: Act, name: str) -> None:
        discord = self._discord
        thread, channel = self._thread(act), await self._channel(act)
        said = await self._note(act, thread if name == "reset" else 0)
        options = {} if name == "reset" else {"question": text_of(act)}
        place = thread or channel
        token = await discord.command(name, author=act.who, channel=place, **options)  # type: ignore[arg-type]
        self._tokens[act.number] = token
        said.done = True

    async def _change(self, act: Act) -> None:
        assert act.target is not None
        said = await self._note(act, 0)
        message = self._messages.get(act.target, 0)
        if self._exists(message):
            if act.what == "delete":
                # If it is deleted before the bot reads it, nobody has to answer it.
                self._said[act.target].accepted = False
                await self._discord.delete(message)
            else:
                old = self._discord._find(message)["content"]
                await self._discord.edit(message, f"{old} edited")
        said.done = True

    async def _press(self, act: Act) -> None:
        """Presses the button below the answer to the act's target, if there is one."""
        target = self._said[act.target or 0]
        said = await self._note(act, int(target.spot.thread or 0))
        place = int(target.shown_at.removeprefix("discord/"))
        for message in self._discord.posts(place) if place in self._discord.channels else []:
            here = target.act.marker in message["content"].split()
            if here and any(f"tw:{act.what}:" in name for name in _buttons(message)):
                await self._discord.click(int(message["id"]), f"tw:{act.what}:", author=act.who)
                break
        said.done = True

    def _exists(self, message: int) -> bool:
        return any(message in known for known in self._discord.messages.values())

    def placeholders(self) -> list[tuple[Said, Json | None]]:
        """Returns every asking command with its placeholder, or None if the bot did not take it."""
        found = []
        for number, token in self._tokens.items():
            original = self._discord.interactions[token]["original"]
            if self._said[number].wants_answer:
                found.append((self._said[number], original))
        return found

    def mark_accepted_commands(self) -> None:
        """Marks commands as accepted whose placeholder was shown and not replaced by a refusal."""
        for said, original in self.placeholders():
            said.accepted = original is not None and said.act.marker in original["content"].split()


def is_waiting(original: Json | None) -> bool:
    """Whether the placeholder still says that the bot is thinking."""
    return original is not None and bool(original["flags"] & LOADING)


def _buttons(message: Json) -> list[str]:
    return [b["custom_id"] for row in message["components"] for b in row["components"]]
