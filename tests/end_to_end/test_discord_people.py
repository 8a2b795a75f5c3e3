"""Files, access and personas on Discord, with real processes."""

import json
from pathlib import Path

from bots.discord.wording import notice_text
from ops.nats_server import NatsServer
from tests.end_to_end.discord_system import System
from tests.fakes.model import FakeModel

PIXEL = b"\x89PNG\r\n\x1a\n" + b"\x00" * 700_000


async def test_files_reach_the_model(
    nats: NatsServer, fake_model: FakeModel, tmp_path: Path
) -> None:
    """A picture is stored in pieces and arrives complete; a text file is included."""
    async with System(nats, fake_model, tmp_path) as system:
        files = {"cat.png": PIXEL, "notes.txt": b"buy milk"}
        message = await system.fake.say("what is this?", mention=True, files=files)
        await system.answered(message)
    content = fake_model.requests[-1]["messages"][-1]["content"]
    assert "buy milk" in content[0]["text"]
    assert content[1]["image_url"]["url"].startswith("data:image/png;base64,")
    assert len(content[1]["image_url"]["url"]) > len(PIXEL) * 4 // 3


async def test_a_denied_person_gets_one_notice_and_no_answer(
    nats: NatsServer, fake_model: FakeModel, tmp_path: Path
) -> None:
    """Others get answers with the persona of the channel."""
    system = System(nats, fake_model, tmp_path)
    denied = system.fake.users["bob"]["id"]
    voice = {str(system.fake.general): {"persona": "You are terse.", "model": "bigger"}}
    system._env = {"DISCORD_DENY_USERS": denied, "DISCORD_CHANNELS": json.dumps(voice)}
    async with system:
        refused = await system.fake.say("let me in", author="bob", mention=True)
        await system.answered(refused)
        allowed = await system.fake.say("hello", mention=True)
        await system.answered(allowed)
        assert system.finished(refused) == [notice_text("person")]
    (request,) = fake_model.requests
    assert request["model"] == "bigger"
    assert request["messages"][0]["content"] == "You are terse."
    assert "hello" in request["messages"][-1]["content"]


async def test_every_way_to_ask_is_answered_in_the_same_place(
    nats: NatsServer, fake_model: FakeModel, tmp_path: Path
) -> None:
    """The ways are a forum post, an edit, a menu, a forwarded message and a role mention."""
    fake_model.delay_s = 0.3
    system = System(nats, fake_model, tmp_path)
    role = str(system.fake.staff_role_id)
    system.fake.roles_of["ada"] = [role]
    system._env = {"DISCORD_ALLOW_ROLES": role, "DISCORD_EDIT_ASKS_AGAIN": "true"}
    async with system:
        fake = system.fake

        post = await fake.post_in_forum("Wax", "is it sticky?")
        await fake.until(
            lambda: any(
                text.startswith("answer") and "is it sticky?" in text for text in fake.read(post)
            )
        )

        edited = await fake.say("old words", mention=True)
        await system.answered(edited)
        await fake.edit(edited, f"<@{fake.application_id}> new words")
        await fake.until(lambda: any("new words" in text for text in system.finished(edited)))

        other = await fake.say("Lorem ipsum", author="bob")
        await fake.command("Ask about this", target=other)
        await fake.until(
            lambda: any("Lorem ipsum" in text and "answer" in text for text in fake.read())
        )

        outsider = await fake.say("I have no role", author="bob", mention=True)
        await system.answered(outsider)
        assert system.finished(outsider) == [notice_text("person")]
    asked = [request["messages"][-1]["content"] for request in fake_model.requests]
    assert [text for text in asked if "no role" in text] == []
    (menu,) = [text for text in asked if "Lorem ipsum" in text]
    assert "<quoted>\n[Bob] Lorem ipsum\n</quoted>" in menu
