"""The process with the fake Discord and its users, who mention the bot in one channel.

The fake's rate limits are off, so that the bots are measured, not Discord's 50 requests per second.
"""

import asyncio

from tests.benchmarks.users import PlatformUsers, run, whole_answer
from tests.fakes.discord import FakeDiscord
from tests.fakes.discord_rules import Limits
from tests.fakes.discord_shapes import Json


class _NoLimits(Limits):
    def __init__(self) -> None:
        super().__init__()
        self.bucket = 1_000_000

    def take_global(self) -> float:
        return 0.0


class _Watched(FakeDiscord):
    """Reports each text of the bot to the users."""

    observer: "DiscordUsers"

    async def _publish(self, event: str, message: Json) -> None:
        if message["author"] is self.me:
            below = message.get("message_reference", {}).get("message_id")
            self.observer.see(str(below or message["channel_id"]), message["content"])
        await super()._publish(event, message)


class DiscordUsers(PlatformUsers):
    def __init__(self, answer: str) -> None:
        super().__init__(answer)
        self.discord = _Watched()
        self.discord.observer = self
        self.discord.limits = _NoLimits()

    async def start(self) -> dict[str, str]:
        await self.discord.start()
        return self.discord.env

    async def until_connected(self) -> None:
        while not self.discord.gateway.live:
            await asyncio.sleep(0.02)
        await asyncio.sleep(1.0)

    async def say(self, user: int, text: str) -> str:
        name = f"person{user}"
        if name not in self.discord.users:
            self.discord.users[name] = self.discord._user(name)
        return str(await self.discord.say(text, author=name, mention=True))


if __name__ == "__main__":
    asyncio.run(run(DiscordUsers(whole_answer())))
