"""`threadwax doctor discord` with the fake Discord."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator

import pytest

from bots.discord.settings import DiscordSettings
from ops.doctor_discord import PERMISSIONS, discord_findings, invite_url
from ops.doctor_lease import lease_of_discord
from ops.finding import CheckContext, Finding
from ops.nats_server import NatsServer
from shared.bus import Bus
from shared.lease import Lease
from shared.settings import Settings
from tests.fakes.discord import FakeDiscord


@pytest.fixture
async def fake() -> AsyncIterator[FakeDiscord]:
    fake = await FakeDiscord().start()
    yield fake
    await fake.stop()


async def examined(fake: FakeDiscord, **changes: str) -> dict[str, Finding]:
    settings = DiscordSettings.model_validate({**fake.env, **changes})
    return {finding.subject: finding for finding in await discord_findings(settings)}


def test_the_invitation_asks_for_the_needed_permissions() -> None:
    """These are eight permissions, without Mention Everyone and Administrator."""
    assert sum(PERMISSIONS.values()) == 309_237_763_136
    assert invite_url("1").endswith("scope=bot+applications.commands&permissions=309237763136")


async def test_a_working_setup_passes(fake: FakeDiscord) -> None:
    """The doctor checks token, intents, sessions and servers, and prints the bot's invitation."""
    fake.guild_permissions = sum(PERMISSIONS.values())
    found = await examined(fake)
    assert {f.grade for f in found.values()} == {"ok"}
    assert str(fake.application_id) in found["invite"].what
    assert "choose a server" in found["invite"].what
    assert "10,000 users" in found["intents"].what


async def test_each_fault_comes_with_advice(fake: FakeDiscord) -> None:
    """The faults are a refused token, a disabled intent, and missing or excessive permissions."""
    assert (await examined(fake, DISCORD_TOKEN="wrong"))["token"].grade == "fail"  # noqa: S106
    fake.enabled_intents = 0
    assert "DISCORD_MESSAGE_CONTENT" in (await examined(fake))["intents"].advice
    assert (await examined(fake, DISCORD_MESSAGE_CONTENT="false"))["intents"].grade == "ok"
    fake.guild_permissions = PERMISSIONS["View Channels"]
    assert "Create Public Threads" in (await examined(fake))["server"].what
    fake.guild_permissions = (1 << 50) - 1
    assert (await examined(fake))["server"].grade == "warn"


async def test_an_outage_of_discord_is_reported(fake: FakeDiscord) -> None:
    """The report contains no traceback and no token."""
    found = await examined(fake, DISCORD_API_URL="http://127.0.0.1:9/api")
    assert found["discord"].grade == "fail"
    assert fake.token not in repr(found)


async def test_the_doctor_command_prints_the_invitation(fake: FakeDiscord) -> None:
    """The exit code is 0 if people will get answers."""
    fake.guild_permissions = sum(PERMISSIONS.values())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ops", "doctor", "discord"),
        env={**os.environ, **fake.env},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert b"permissions=309237763136" in out
    assert fake.token.encode() not in out


async def test_the_doctor_names_the_holder_of_the_lease(nats: NatsServer, bus: Bus) -> None:
    """And says so if no adapter runs."""
    context = CheckContext(Settings(NATS_URL=nats.url))
    (finding,) = await lease_of_discord(context)
    assert finding.what == "nobody holds it: no Discord adapter runs"
    await Lease(bus, "discord", place="here").acquire()
    (finding,) = await lease_of_discord(context)
    assert (finding.grade, finding.what) == (
        "ok", f"{socket.gethostname()} has it, and is connected to Discord",
    )  # fmt: skip
