"""The process with the fake Discord and its users. It enforces Discord's rate limits."""

import asyncio
import random
import sys
import time
from collections import defaultdict
from typing import Any, Final

from tests.fakes.discord import FakeDiscord
from tests.fakes.discord_shapes import DIRECT, TOKEN_LIFE_S
from tests.soak.users import KEPT_S, SoakUsers, run

KINDS: Final = {"general": 55, "direct": 30, "secret": 15}
RECORDS_KEPT: Final = 1000


class SoakDiscordUsers(SoakUsers):
    """Users who mention the bot, follow up in threads, and write direct messages."""

    platform = "discord"

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.discord = FakeDiscord()

    async def start(self, **_: str) -> dict[str, str]:
        await self.discord.start()
        return self.discord.env

    async def until_connected(self) -> None:
        await self.discord.gateway.connected.wait()

    def newcomer(self) -> str:
        who = f"person{super().newcomer()}"
        self.discord.users[who] = self.discord._user(who)
        return who

    def kind(self, rng: random.Random) -> str:
        return rng.choices(list(KINDS), list(KINDS.values()))[0]

    async def ask(self, who: str, kind: str, where: str, text: str) -> tuple[str, Any]:
        discord = self.discord
        if kind == "direct":
            channel = await discord.direct(who)
            if not where:
                # The bot must be online: it cannot list direct channels that were opened while it
                # was down.
                await discord.gateway.connected.wait()
            return str(channel), await discord.say(text, author=who, channel=channel)
        if where and int(where) in discord.channels:
            return where, await discord.say(text, author=who, channel=int(where))
        channel = discord.general if kind == "general" else discord.secret
        message = await discord.say(text, author=who, channel=channel, mention=True)
        return str(message), message  # its thread has the same id

    async def edit(self, message: Any, text: str) -> bool:
        old = self.discord._find(message)["content"]
        mention = f"<@{self.discord.application_id}> " if old.startswith("<") else ""
        await self.discord.edit(message, f"{mention}{text}")
        return True

    async def stop(self, who: str, message: Any, where: str) -> bool:
        for post in self.discord.posts(int(where)):
            for button in (b["custom_id"] for row in post["components"] for b in row["components"]):
                if button.startswith("tw:stop:") and button.endswith(f":discord-{message}"):
                    await self.discord.click(int(post["id"]), button, author=who)
                    return True
        return False

    async def reset(self, who: str, where: str) -> bool:
        if int(where) not in self.discord.channels or not self.discord.gateway.live:
            return False
        await self.discord.command("reset", author=who, channel=int(where))
        return True

    def texts(self) -> dict[str, list[str]]:
        found: defaultdict[str, list[str]] = defaultdict(list)
        for channel in self.discord.messages:
            for message in self.discord.posts(channel):
                if "_only_for" not in message:
                    below = message.get("message_reference", {}).get("message_id")
                    plain = channel in (self.discord.general, self.discord.secret)
                    found[str(below if plain and below else channel)].append(message["content"])
        return found

    async def forget(self, where: str) -> None:
        discord, number = self.discord, int(where)
        discord.messages.pop(number, None)
        here = discord.channels.get(number)
        if here is None or here["type"] != DIRECT:
            for channel in (discord.general, discord.secret):
                discord.messages[channel].pop(number, None)
        if here is not None and here["type"] != DIRECT:
            # Discord also archives inactive threads.
            here["thread_metadata"]["archived"] = True
            await discord._tell(number, "THREAD_UPDATE", here)
            del discord.channels[number]
        self._trim()

    def _trim(self) -> None:
        discord, now = self.discord, time.monotonic()
        records: tuple[list[Any], ...] = (discord.calls, discord.typing, discord.pings)
        for record in records:
            del record[:-RECORDS_KEPT]
        for token, known in tuple(discord.interactions.items()):
            if now - known["at"] > max(KEPT_S, TOKEN_LIFE_S):
                del discord.interactions[token]
        used = discord.limits._used
        for key in [k for k, times in used.items() if not times or now - times[-1] > KEPT_S]:
            del used[key]


if __name__ == "__main__":
    asyncio.run(run(SoakDiscordUsers(int(sys.argv[1])), sys.argv[2:]))
