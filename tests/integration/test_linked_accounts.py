"""Accounts of one person are linked with a code, through the whole dataflow."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ops.nats_server import NatsServer
from shared import user_names
from shared.bus import Bus
from shared.messages import Ask, Forget, Place
from tests.fakes.model import FakeModel
from tests.running import Running, answer_to, dataflow

ON = {"THREADWAX_LINK_ACCOUNTS": "on"}
STORED_S = 1.3
"""Other accounts are read from the store, which conversations reach within a second."""


@dataclass
class World:
    bus: Bus
    model: FakeModel
    flow: Running
    asked: int = 0

    async def ask(self, user: str, text: str, **where: str) -> str:
        """The reply to a direct message, or to one in a channel."""
        return (await answer_to(self.bus, self.question(user, text, **where))).text

    def question(self, user: str, text: str, **where: Any) -> Ask:
        self.asked += 1
        platform, token = user_names.split_user(user)
        place = {"platform": platform, "channel": token, "audience": "direct", **where}
        return Ask(
            id=f"{platform}-{token}-{self.asked}", user=user, place=Place.model_validate(place),
            said_at=datetime.now(UTC), text=text,
        )  # fmt: skip

    async def code(self, user: str) -> str:
        """A code of this account, with the words around it."""
        found = re.search(
            r"`(link [0-9A-Z]{4}-[0-9A-Z]{4})`", await self.ask(user, "link accounts")
        )
        assert found is not None
        return found[1]

    async def link(self, one: str, other: str) -> str:
        """Links two accounts; returns the reply to the confirmed code."""
        return await self.ask(other, f"{await self.code(one)} yes")

    async def knows(self, user: str, words: str, **where: str) -> bool:
        """Whether the model is told these words with a question of this user."""
        await asyncio.sleep(STORED_S)
        await self.ask(user, "What do you know?", **where)
        return words in str(self.model.requests[-1]["messages"])

    async def knows_soon(self, user: str, words: str) -> bool:
        """The same within some seconds, as after a restart, when the events are read again."""
        for _ in range(5):
            if await self.knows(user, words):
                return True
        return False


@pytest.fixture
async def world(
    nats: NatsServer, bus: Bus, fake_model: FakeModel, tmp_path: Path
) -> AsyncIterator[World]:
    flow = dataflow(tmp_path / "flow", nats.url, fake_model.base_url, **ON).start()
    await flow.ready()
    yield World(bus, fake_model, flow)
    flow.kill()


async def test_linked_accounts_recall_each_other_in_direct_messages_only(world: World) -> None:
    await world.ask("slack:U1", "my cat is called Tom")
    assert not await world.knows("discord:7", "Tom")
    reply = await world.link("slack:U1", "discord:7")
    assert "linked with `slack:U1`" in reply
    assert await world.knows("discord:7", "Tom")
    await world.ask("discord:7", "my dog is called Rex")
    assert await world.knows("slack:U1", "Rex")
    assert not await world.knows("slack:U1", "Rex", audience="private", channel="C1")
    assert not await world.knows("discord:8", "Tom")


async def test_a_third_account_is_linked_with_both(world: World) -> None:
    await world.ask("slack:U1", "my cat is called Tom")
    await world.link("slack:U1", "discord:7")
    await world.link("discord:7", "web:ada")
    assert await world.knows("web:ada", "Tom")
    await world.ask("web:ada", "my bird is called Pip")
    assert await world.knows("slack:U1", "Pip")


async def test_a_code_links_once_and_only_after_a_confirmation(world: World) -> None:
    await world.ask("slack:U1", "my cat is called Tom")
    words = await world.code("slack:U1")
    assert "of this account" in await world.ask("slack:U1", words)
    confirm = await world.ask("discord:7", words)
    assert "`slack:U1`" in confirm
    assert f"`{words} yes`" in confirm
    assert not await world.knows("discord:7", "Tom")
    assert "Done" in await world.ask("discord:7", f"{words} yes")
    assert "not valid" in await world.ask("discord:8", f"{words} yes")
    assert "not valid" in await world.ask("discord:8", "link 0000-0000 yes")
    assert not await world.knows("discord:8", "Tom")


async def test_unlinking_works_from_either_side(world: World) -> None:
    await world.ask("slack:U1", "my cat is called Tom")
    await world.ask("discord:7", "my dog is called Rex")
    await world.link("slack:U1", "discord:7")
    assert "no longer linked" in await world.ask("slack:U1", "unlink accounts")
    assert not await world.knows("discord:7", "Tom")
    assert not await world.knows("slack:U1", "Rex")
    assert "not linked" in await world.ask("slack:U1", "unlink accounts")
    assert "Done" in await world.link("discord:7", "slack:U1")
    assert await world.knows("slack:U1", "Rex")


async def test_who_is_forgotten_is_linked_with_nobody(world: World) -> None:
    await world.ask("slack:U1", "my cat is called Tom")
    await world.link("slack:U1", "discord:7")
    asked = world.question("slack:U1", "x")
    forget = Forget(id="slack-forget", user="slack:U1", place=asked.place, said_at=asked.said_at)
    await answer_to(world.bus, forget)
    assert not await world.knows("discord:7", "Tom")
    await world.ask("slack:U1", "I am new here")
    assert not await world.knows("discord:7", "I am new here")


async def test_links_are_neither_lost_nor_half_made_though_the_dataflow_is_killed(
    world: World,
) -> None:
    async def killed(after_s: float) -> None:
        await asyncio.sleep(after_s)
        world.flow.kill()
        world.flow.start()

    pairs = [(f"slack:U{n}", f"discord:{n}") for n in range(8)]
    for number, (one, other) in enumerate(pairs):
        await world.ask(one, f"the word of {number} is heron{number}")
        words = await world.code(one)
        killing = asyncio.create_task(killed(0.004 * number))
        assert "Done" in await world.ask(other, f"{words} yes")
        await killing
        assert await world.knows_soon(other, f"heron{number}")
    for one, other in pairs[:4]:
        killing = asyncio.create_task(killed(0.002))
        assert "no longer linked" in await world.ask(other, "unlink accounts")
        await killing
        await world.ask(other, f"only {other} knows")
        assert not await world.knows(one, f"only {other} knows")
    for one, other in pairs[4:]:
        await world.ask(other, f"both know {other}")
        assert await world.knows_soon(one, f"both know {other}")
