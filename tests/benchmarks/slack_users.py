"""The process with the fake Slack and its users, who mention the bot in a channel."""

import asyncio
from typing import Any

from tests.benchmarks.users import PlatformUsers, run, whole_answer
from tests.fakes.slack import ROOM, TEAM, FakeSlack
from tests.fakes.slack_rules import rendered


class SlackUsers(PlatformUsers):
    def __init__(self, answer: str) -> None:
        super().__init__(answer)
        self.slack = FakeSlack()
        self.slack.hook = self._look

    async def start(self) -> dict[str, str]:
        await self.slack.start()
        return self.slack.env

    async def until_connected(self) -> None:
        while not self.slack.sockets.live:
            await asyncio.sleep(0.02)
        await asyncio.sleep(1.0)  # an app can open a second connection

    async def say(self, user: int, text: str) -> str:
        name = f"U{user:04d}"
        self.slack.users.setdefault(name, {"id": name, "team_id": TEAM, "profile": {}})
        return self.slack.mention(text, user=name)

    def _look(self, method: str, phase: str) -> None:
        if phase != "after" or method not in ("chat.postMessage", "chat.update"):
            return
        arguments = self.slack.calls[-1][1]
        message = self._message(method, arguments)
        payload = ((message or {}).get("metadata") or {}).get("event_payload") or {}
        if message is not None and payload.get("final", True):  # the bare bot sends no metadata
            self.see(str(message["thread_ts"]), rendered(message))

    def _message(self, method: str, arguments: dict[str, Any]) -> dict[str, Any] | None:
        here = self.slack.messages[ROOM]
        if method == "chat.update":
            return here.get(str(arguments["ts"]))
        return next(reversed(here.values()), None)


if __name__ == "__main__":
    asyncio.run(run(SlackUsers(whole_answer())))
