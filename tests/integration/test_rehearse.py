"""`threadwax rehearse` over a real history: flow, recorder, NATS, candidate and judge."""

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ops.cli import threadwax
from ops.nats_server import NatsServer
from shared.bus import Bus
from shared.messages import Configure, Deleted, Forget
from tests.fakes.model import FakeModel, Fault
from tests.running import ROOT, Running, answer_to, dataflow, direct, question

pytestmark = pytest.mark.timeout(300)  # it starts several processes

PEOPLE = ("ada", "bob")
TURNS = 4
EVIL = "<script>alert(1)</script>"


def verdict(request: dict[str, Any]) -> str:
    """Prefers the answer of the candidate, wherever it is."""
    first, _, second = request["messages"][-1]["content"].partition("<answer_b")
    is_first = "candidate" in first.partition("<answer_a")[2]
    assert is_first != ("candidate" in second)
    return f"It is better.\nVERDICT: {'A' if is_first else 'B'}"


@dataclass
class World:
    """A history, and everything that a rehearsal needs."""

    home: Path
    nats_url: str
    bus: Bus
    old: FakeModel
    candidate: FakeModel
    judge: FakeModel
    database: Path

    @property
    def out(self) -> Path:
        return self.home / "out"

    def command(self, *options: str, model: str = "new", judged: bool = True) -> list[str]:
        command = [
            sys.executable, "-m", "ops", "rehearse", "--model", model, "--out", str(self.out),
            "--base-url", self.candidate.base_url, "--api-key-env", "CANDIDATE_KEY",
        ]  # fmt: skip
        if judged:
            command += ["--judge", "judge", "--judge-base-url", self.judge.base_url]
        return [*command, *options]

    def env(self, **env: str) -> dict[str, str]:
        prices = {"new": {"input": 1, "output": 10}, "judge": {"input": 1, "output": 1},
                  "fake": {"input": 0.5, "output": 1}}  # fmt: skip
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI", "NATS"))}
        return kept | {
            "THREADWAX_HOME": str(self.home), "NATS_URL": self.nats_url,
            "OPENAI_BASE_URL": self.old.base_url, "OPENAI_API_KEY": "old-key",
            "THREADWAX_MODEL": "fake", "DATABASE_URL": f"sqlite:///{self.database}",
            "CANDIDATE_KEY": "new-key", "THREADWAX_PRICES": json.dumps(prices),
            "THREADWAX_MODEL_GIVE_UP_S": "3", **env,
        }  # fmt: skip

    async def run(self, *command: str, **env: str) -> Result:
        """Runs the command, in a thread: a process would take seconds to start."""
        runner, options = CliRunner(), command[3:]  # without `python -m ops`
        return await asyncio.to_thread(
            runner.invoke, threadwax, options, env=self.env(**env), catch_exceptions=False
        )

    def report(self) -> Any:
        return json.loads((self.out / "report.json").read_text())

    def rows(self, statement: str) -> list[Any]:
        with closing(sqlite3.connect(self.database)) as connection:
            return connection.execute(statement).fetchall()


@pytest.fixture(name="world")
async def _world(
    tmp_path: Path, nats: NatsServer, bus: Bus, fake_model: FakeModel
) -> AsyncIterator[World]:
    """Two people who asked four questions each, in one thread, and a recorder that wrote it."""
    home = tmp_path / "home"
    home.mkdir()
    candidate = await FakeModel(reply=lambda _: f"candidate's answer {EVIL}").start()
    judge = await FakeModel(reply=verdict).start()
    database = tmp_path / "own.sqlite"
    flow = dataflow(tmp_path / "flow", nats.url, fake_model.base_url).start()
    env = {"NATS_URL": nats.url, "DATABASE_URL": f"sqlite:///{database}"}
    recorder = Running(
        "recorder", log=home / "log", env={**env, "THREADWAX_HOME": str(home)}
    ).start()
    world = World(home, nats.url, bus, fake_model, candidate, judge, database)
    try:
        for number in range(TURNS):
            for name in PEOPLE:
                asked = question(name, number, f"{EVIL} question {number} of {name}")
                await answer_to(bus, asked, timeout_s=100)
        await recorder.ready()
        await until(lambda: count(database, "answers") == TURNS * len(PEOPLE))
        yield world
    finally:
        for running in (flow, recorder):
            running.kill()
        for model in (candidate, judge):
            await model.stop()


def count(database: Path, table: str) -> int:
    try:
        with closing(sqlite3.connect(database)) as connection:
            return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608
    except sqlite3.OperationalError:
        return 0


async def until(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.05)


def asked(requests: list[dict[str, Any]]) -> list[Any]:
    return sorted((request["messages"] for request in requests), key=json.dumps)


async def test_real_requests_are_asked_again_and_judged(world: World) -> None:
    """The candidate gets exactly the requests that were sent; the judge sees both orders."""
    done = await world.run(*world.command())
    assert done.exit_code == 0, done.stderr
    assert asked(world.candidate.requests) == asked(world.old.requests)
    assert {headers["Authorization"] for headers in world.candidate.headers} == {"Bearer new-key"}
    assert {request["model"] for request in world.candidate.requests} == {"new"}
    assert len(world.judge.requests) == 2 * TURNS * len(PEOPLE)
    assert "old-key" not in str(world.judge.headers)

    report = world.report()
    total = TURNS * len(PEOPLE)
    assert (report["old"]["answered"], report["new"]["answered"]) == (total, total)
    assert report["requests_complete"] == total
    assert (report["judgements"]["new"], report["judgements"]["agreement"]) == (total, 1.0)
    assert report["old"]["microdollars"] > 0
    assert report["new"]["microdollars"] > report["old"]["microdollars"]
    assert report["new"]["first_text_ms"] >= 0
    assert report["left_out"] == {}
    page = (world.out / "report.html").read_text()
    assert EVIL not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; question 0 of ada" in page
    for file in world.out.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
    ((path, kind, examples),) = world.rows("SELECT path, format, examples FROM exports")
    assert (path, kind, examples) == (str(world.out), "rehearsal", total)
    people = world.rows("SELECT user_id FROM export_people ORDER BY user_id")
    assert people == [("test:ada",), ("test:bob",)]
    assert "question 0" not in done.stderr + done.stdout

    again = await world.run(*world.command())
    assert again.exit_code == 0
    assert "is complete" in again.stderr
    assert len(world.candidate.requests) == total
    other = await world.run(*world.command(model="other"))
    assert other.exit_code == 2
    assert "--out" in other.stderr


async def test_a_killed_rehearsal_continues(world: World) -> None:
    """Nothing is asked twice, apart from what was in progress."""
    world.candidate.delay_s = world.judge.delay_s = 0.2
    command = world.command("--parallel", "1")
    results = world.out / "results.jsonl"
    for lines in (2, 5, 9):
        process = subprocess.Popen(
            command, env=world.env(), cwd=ROOT, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            await until(lambda lines=lines: results.exists()  # type: ignore[misc]
                        and len(results.read_bytes().splitlines()) >= lines)  # fmt: skip
        finally:
            process.kill()
            process.wait()
    world.candidate.delay_s = world.judge.delay_s = 0.0
    with results.open("ab") as file:
        file.write(b'{"kind": "asked", "pair": {"prompt')
    done = await world.run(*command)
    assert done.exit_code == 0, done.stderr
    total = TURNS * len(PEOPLE)
    assert total <= len(world.candidate.requests) <= total + 3
    assert 2 * total <= len(world.judge.requests) <= 2 * total + 6
    assert world.report()["judgements"]["new"] == total
    kinds = [json.loads(line)["kind"] for line in results.read_text().splitlines()]
    assert (kinds.count("asked"), kinds.count("judged")) == (total, total)


async def test_people_who_opted_out_are_left_out(world: World) -> None:
    """Also if the recorder has not heard of it, and what was deleted is in no request."""
    head = {"user": "test:ada", "place": direct("ada")}
    said = question("ada", 99, "x").said_at
    await world.bus.publish(
        Configure(id="ada-out", settings={"training": "no"}, said_at=said, **head)  # type: ignore[arg-type]
    )
    bob = {"user": "test:bob", "place": direct("bob"), "said_at": said}
    await world.bus.publish(Deleted(id="bob-del", prompt_id="bob-1", **bob))  # type: ignore[arg-type]
    decided = "SELECT training_allowed FROM people WHERE user_id = 'test:ada'"
    await until(lambda: world.rows(decided) == [(0,)])
    done = await world.run(*world.command(judged=False))
    assert done.exit_code == 0, done.stderr
    said_to_candidate = json.dumps(world.candidate.requests)
    assert "ada" not in said_to_candidate
    assert "question 1 of bob" not in said_to_candidate
    assert "question 2 of bob" in said_to_candidate
    assert world.report()["left_out"] == {"deleted": 1}
    assert len(world.candidate.requests) == TURNS - 1

    # Bob decides so after the rehearsal: continuing it removes his words from the folder.
    await world.bus.publish(Forget(id="bob-forget", **bob))  # type: ignore[arg-type]
    await until(lambda: bool(world.rows("SELECT 1 FROM people WHERE forgotten_at IS NOT NULL")))
    # Also if it cannot go on: NATS is away.
    done = await world.run(*world.command(judged=False), NATS_URL="nats://127.0.0.1:9")
    assert done.exit_code == 1
    for file in world.out.iterdir():
        assert "of bob" not in file.read_text(), file
        assert "test:bob" not in file.read_text(), file
    assert world.rows("SELECT user_id FROM export_people") == []


async def test_an_opt_out_that_only_the_stream_has_counts(world: World) -> None:
    said = question("ada", 99, "x").said_at
    await world.bus.publish(
        Configure(id="ada-out", user="test:ada", place=direct("ada"), said_at=said,
                  settings={"training": "no"})
    )  # fmt: skip
    await until(lambda: bool(world.rows("SELECT 1 FROM people WHERE user_id = 'test:ada'")))
    with closing(sqlite3.connect(world.database)) as connection, connection:
        connection.execute("DELETE FROM people")
    done = await world.run(*world.command(judged=False))
    assert done.exit_code == 0, done.stderr
    assert "of ada" not in json.dumps(world.candidate.requests)
    assert world.report()["left_out"] == {"the person opted out": TURNS}


async def test_money_and_time_are_limited(world: World) -> None:
    """The limit is kept, what is finished is reported, and a higher one continues."""
    world.candidate.usage = {"completion_tokens": 5000}  # $0.05
    one = await world.run(*world.command("--max-dollars", "0.3", judged=False))
    assert one.exit_code == 1, one.stderr
    assert "ended early at --max-dollars 0.3" in one.stderr
    asked_first = len(world.candidate.requests)
    report = world.report()
    assert report["new"]["answers"] == asked_first == 5  # a sixth could cost $0.08
    assert 250_000 < report["new"]["microdollars"] < 300_000
    late = await world.run(*world.command("--max-minutes", "0.0000001", judged=False))
    assert late.exit_code == 1
    assert "--max-minutes" in late.stderr
    assert len(world.candidate.requests) == asked_first
    rest = await world.run(*world.command("--max-dollars", "none", judged=False))
    assert rest.exit_code == 0, rest.stderr
    assert len(world.candidate.requests) == TURNS * len(PEOPLE)


async def test_what_cannot_be_asked_is_explained(world: World) -> None:
    """And it is asked again once it can be."""
    unpriced = await world.run(*world.command("--max-dollars", "1", model="x", judged=False))
    assert unpriced.exit_code == 2
    assert "the price of x is unknown" in unpriced.stderr
    unset = await world.run(*world.command("--judge-api-key-env", "NO_SUCH_KEY"))
    assert unset.exit_code == 2
    assert "NO_SUCH_KEY is not set" in unset.stderr

    world.candidate.always = Fault(status=401, error={"message": "wrong key"})
    refused = await world.run(*world.command())
    assert refused.exit_code == 1
    assert "bad key" in refused.stderr
    world.candidate.always = None
    last = "question 3 of bob"
    world.candidate.reply = lambda asked: "" if last in str(asked["messages"][-1]) else "fine"
    done = await world.run(*world.command())
    assert done.exit_code == 0, done.stderr
    report = world.report()
    assert report["new"]["answers"] == TURNS * len(PEOPLE)
    assert report["new"]["failed"] == 1
    assert sum(pair["judgement"] is None for pair in report["pairs"]) == 1


async def test_another_prompt_is_rehearsed(world: World, tmp_path: Path) -> None:
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("Be brief.\n")
    done = await world.run(*world.command("--prompt", str(prompt), "--last", "3", judged=False))
    assert done.exit_code == 0, done.stderr
    heads = [request["messages"][0]["content"] for request in world.candidate.requests]
    assert heads == ["Be brief."] * 3
