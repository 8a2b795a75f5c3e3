"""The process with the fake Slack and its users."""

import asyncio
import random
import sys
from collections import defaultdict
from typing import Any, Final

from tests.fakes.slack import (
    BOT,
    GROUP,
    ROOM,
    SECRET_ROOM,
    TEAM,
    FakeSlack,
)
from tests.fakes.slack_rules import rendered
from tests.soak.users import SoakUsers, run
from tests.soak.words import Question

KINDS: Final = {ROOM: 50, "direct": 30, SECRET_ROOM: 12, GROUP: 8}
RECORDS_KEPT: Final = 1000


class SoakSlackUsers(SoakUsers):
    """Users who mention the bot, follow up in threads, and write direct messages."""

    platform = "slack"

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.slack = FakeSlack()
        self._rng = random.Random(seed)

    async def start(self, **_: str) -> dict[str, str]:
        await self.slack.start()
        return self.slack.env

    async def until_connected(self) -> None:
        while not self.slack.sockets.live:
            await asyncio.sleep(0.02)

    def newcomer(self) -> str:
        who = f"U{super().newcomer()}"
        self.slack.users[who] = {"id": who, "team_id": TEAM, "profile": {"display_name": who}}
        return who

    def kind(self, rng: random.Random) -> str:
        return rng.choices(list(KINDS), list(KINDS.values()))[0]

    async def ask(self, who: str, kind: str, where: str, text: str) -> tuple[str, Any]:
        slack = self.slack
        channel = slack.direct(who) if kind == "direct" else kind
        thread = where.partition("/")[2]
        if kind != "direct" and not thread:
            text = f"<@{BOT}> {text}"
        ts = slack.send(text, channel=channel, user=who, thread=thread or None)
        return f"{channel}/{thread or ts}", (channel, ts)

    async def edit(self, message: Any, text: str) -> bool:
        channel, ts = message
        old = self.slack.messages[channel][ts]["text"]
        mention = f"<@{BOT}> " if old.startswith("<") else ""
        self.slack.edit(channel, ts, f"{mention}{text}")
        return True

    async def stop(self, who: str, message: Any, where: str) -> bool:
        del message
        channel, _, thread = where.partition("/")
        if self._rng.random() < 0.5:
            self.slack.press_stop(channel, thread, user=who)
        else:
            self.slack.send("!stop", channel=channel, user=who, thread=thread)
        return True

    def stopped_with(self, question: Question, where: str) -> set[int]:
        del question
        return self.asked_at(where)  # Slack's Stop button and `!stop` apply to the whole thread

    async def reset(self, who: str, where: str) -> bool:
        channel, _, thread = where.partition("/")
        self.slack.send("!reset", channel=channel, user=who, thread=thread)
        return True

    def texts(self) -> dict[str, list[str]]:
        found: defaultdict[str, list[str]] = defaultdict(list)
        for channel, messages in self.slack.messages.items():
            for _, message in sorted(messages.items(), key=lambda item: float(item[0])):
                if message.get("bot_id"):
                    where = f"{channel}/{message.get('thread_ts') or ''}"
                    found[where].append(rendered(message))
        return found

    async def forget(self, where: str) -> None:
        slack = self.slack
        channel, _, thread = where.partition("/")
        here = slack.messages[channel]
        for ts in [ts for ts, m in here.items() if thread in (ts, m.get("thread_ts"))]:
            del here[ts]
        slack.statuses.pop((channel, thread), None)
        slack.sessions.pop((channel, thread), None)
        records: tuple[list[Any], ...] = (
            slack.calls, slack.deliveries, slack.ephemerals, slack.pings, slack.unfurled,
        )  # fmt: skip
        for record in records:
            del record[:-RECORDS_KEPT]


if __name__ == "__main__":
    asyncio.run(run(SoakSlackUsers(int(sys.argv[1])), sys.argv[2:]))
