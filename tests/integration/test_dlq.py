"""`threadwax dlq` against a real server, with the part of the dataflow that replays."""

import asyncio
import json
from typing import Any

from click.testing import CliRunner, Result

from dataflow.dead_letters import PARTLY_SHOWN, DeadLetterService
from ops.cli import threadwax
from ops.dlq import actions
from ops.nats_server import NatsServer
from shared import names
from shared.bus import Bus
from shared.dead_letters import NO_ANSWER, NOBODY_WAITS
from shared.receipts import Receipts
from tests.integration.test_relay import reply
from tests.running import question

HOSTILE = "\x1b]0;title\x07\x1b[2Jhello\u202e"


async def dlq(server: NatsServer, *arguments: str, typed: str = "", url: str = "") -> Result:
    """Runs the command in a thread, since it has an event loop of its own."""
    env = {"NATS_URL": url or server.url, "COLUMNS": "150"}
    runner = CliRunner()
    return await asyncio.to_thread(
        runner.invoke, threadwax, ["dlq", *arguments], env=env, input=typed
    )


async def filled(bus: Bus) -> tuple[int, int, int, int]:
    """A readable event, an answer of which a part is visible, a request, and a cut event."""
    asked = question("ada", 1, HOSTILE)
    shown = reply("bob", 1, "forty-two")
    await bus.dead_letter(
        subject=f"p.3.{asked.user.replace(':', '.')}", data=asked.wire(), reason="kind: unknown"
    )
    await bus.dead_letter(
        subject=names.reply_subject(shown.user, shown.prompt_id),
        data=shown.wire(),
        reason="gone: the channel is archived",
    )
    await bus.dead_letter(subject="prompts", data=b"\xff{", reason="no reply\nsubject\x1b[31m")
    await bus.dead_letter(subject="p.3.discord.eve", data=b'{"id"', reason="Kind: unknown")
    await Receipts(bus, "test").claim(f"{shown.prompt_id}.1")
    return 1, 2, 3, 4


async def test_the_list_names_each_dead_letter_without_reading_it(
    nats: NatsServer, bus: Bus
) -> None:
    empty = await dlq(nats, "list")
    assert (empty.exit_code, empty.stdout, empty.stderr) == (0, "", "No dead letters.\n")
    await filled(bus)
    listed = await dlq(nats, "list")
    assert listed.exit_code == 0
    heads, ada, bob, request, eve = listed.stdout.splitlines()
    assert heads.split()[0] == "NUMBER"
    assert ada.split()[0::3][0] == "1"
    assert "test:ada" in ada
    assert bob.endswith("gone: the channel is archived")
    assert "gateway" in request
    assert request.endswith("no reply subject")
    assert "discord:eve" in eve
    assert listed.stderr.startswith("4 dead letters. Read one: threadwax dlq show 4. 3 may be")
    assert "hello" not in listed.stdout

    found = json.loads((await dlq(nats, "list", "--json")).stdout)
    assert [one["number"] for one in found] == [1, 2, 3, 4]
    assert found[2]["why_not_replayable"] == NOBODY_WAITS
    assert found[3]["size_bytes"] == 5


async def test_filters_choose_by_platform_time_and_reason(nats: NatsServer, bus: Bus) -> None:
    await filled(bus)

    async def chosen(*options: str) -> list[int]:
        done = await dlq(nats, "list", "--json", *options)
        assert done.exit_code == 0, done.stderr
        return [one["number"] for one in json.loads(done.stdout)]

    assert await chosen("--platform", "test") == [1, 2]
    assert await chosen("--platform", "gateway") == [3]
    assert await chosen("--reason", "kind") == [1, 4]
    assert await chosen("--reason", "kind", "--platform", "discord") == [4]
    assert await chosen("--since", "1d") == [1, 2, 3, 4]
    assert await chosen("--since", "2999-01-01") == []


async def test_show_prints_everything_but_control_characters(nats: NatsServer, bus: Bus) -> None:
    event, _, request, _ = await filled(bus)
    shown = await dlq(nats, "show", str(event))
    assert shown.exit_code == 0
    assert "\x1b" not in shown.stdout
    assert "\u202e" not in shown.stdout
    assert "Reason    kind: unknown" in shown.stdout
    assert '"kind": "ask"' in shown.stdout
    assert "Replay    threadwax dlq replay 1" in shown.stdout
    other = await dlq(nats, "show", str(request))
    assert f"Replay    {NOBODY_WAITS}" in other.stdout
    assert "\x1b" not in other.stdout
    assert json.loads((await dlq(nats, "show", "3", "--json")).stdout)["content"] == "\ufffd{"
    missing = await dlq(nats, "show", "99")
    assert (missing.exit_code, missing.stderr) == (1, f"{actions.NO_SUCH.format(number=99)}\n")


async def test_replay_says_what_happened_to_each(nats: NatsServer, bus: Bus) -> None:
    event, answer, request, cut = await filled(bus)
    away = await dlq(nats, "replay", "--all")
    assert away.exit_code == 1
    assert away.stdout == f"[1/4] {event}: {NO_ANSWER}\n"
    assert "3 were not tried" in away.stderr

    await DeadLetterService(bus).start()
    done = await dlq(nats, "replay", "--all")
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"[1/4] {event}: Replayed.")
    assert lines[1] == f"[2/4] {answer}: {PARTLY_SHOWN.text}"
    assert lines[2] == f"[3/4] {request}: {NOBODY_WAITS}"
    assert lines[3].startswith(f"[4/4] {cut}: Cannot be replayed: only its beginning")
    assert (await bus.js.stream_info(names.PROMPTS)).state.messages == 1

    again = await dlq(nats, "replay", str(event))
    assert (again.exit_code, "is gone" in again.stdout) == (1, True)
    nothing = await dlq(nats, "replay", "--all", "--platform", "slack")
    assert (nothing.exit_code, nothing.stderr) == (0, f"{actions.NOTHING}\n")
    assert (await bus.js.stream_info(names.PROMPTS)).state.messages == 1


async def test_drop_erases_only_what_is_confirmed(nats: NatsServer, bus: Bus) -> None:
    await filled(bus)

    async def left() -> int:
        return (await bus.js.stream_info(names.DLQ)).state.messages

    refused = await dlq(nats, "drop", "--all", typed="n\n")
    assert (refused.exit_code, await left()) == (1, 4)
    assert "4 dead letters will be erased" in refused.stderr
    one = await dlq(nats, "drop", "2", "99", "--yes")
    assert (one.exit_code, one.stdout.endswith("1 dead letter erased.\n")) == (1, True)
    assert actions.NO_SUCH.format(number=99) in one.stderr
    some = await dlq(nats, "drop", "--all", "--reason", "kind", typed="y\n")
    assert (some.exit_code, await left()) == (0, 1)


async def test_wrong_usage_and_an_unusable_server_are_explained(nats: NatsServer) -> None:
    wrong: Any
    for wrong in (("replay",), ("replay", "1", "--all"), ("drop", "1", "--platform", "test")):
        done = await dlq(nats, *wrong)
        assert (done.exit_code, "Usage:" in done.stderr) == (2, True)
    nats.stop()
    away = await dlq(nats, "list")
    assert away.exit_code == 1
    assert "NATS at" in away.stderr
    assert "Traceback" not in away.output
