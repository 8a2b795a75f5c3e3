"""`threadwax export` on both databases, and once behind the real chat, dataflow and recorder."""

import asyncio
import csv
import hashlib
import importlib.util
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from dataflow.recorder.changes import Stored
from ops.cli import threadwax
from ops.export import run as export_run
from ops.export.contents import Order
from ops.export.selection import Consent, Filters
from ops.finetune.chat_file import people_of, read_chat_file
from ops.nats_server import NatsServer
from shared import lifecycle
from shared.messages import Again, Ask, Attachment, Configure, Deleted, Forget, Place, Rate, Reset
from tests.fakes.model import FakeModel
from tests.recorded import PLACE, Streams, dump, opened, record, until_recorded
from tests.running import Running, dataflow
from tests.unit.test_export import SCHEMAS

Export = Callable[..., Result]

ATTESTED = json.dumps({"slack": {"C2": "Its members agreed on 2026-11-01"}})
TERMINAL = Place(platform="terminal", channel="terminal", audience="direct")
IN_CHANNEL = ["text of s-1", "answer to s-1"]


@pytest.fixture(name="export")
def _export(database_url: str, tmp_path: Path) -> Export:
    """Runs the command on the database; the file is `out` in the test's folder."""

    def run(format_: str, *options: str, **env: str) -> Result:
        command = ["export", "--format", format_, "--out", str(tmp_path / "out"), *options]
        return CliRunner().invoke(threadwax, command, env={"DATABASE_URL": database_url, **env})

    return run


@pytest.fixture(name="engine")
def _engine(database_url: str) -> sa.Engine:
    """Ada, Bob and Cleo in the terminal, and Ada in a channel of Slack."""
    streams = Streams()
    ada, bob, cleo = ({"user": f"terminal:{name}", "place": TERMINAL}
                      for name in ("ada", "bob", "cleo"))  # fmt: skip

    def ask(id_: str, **fields: Any) -> None:
        streams.event(Ask, id_, **{"text": f"text of {id_}", **fields})

    ask("a-1", **ada, persona="You are kind.")
    streams.reply("a-1", **ada, model="small")
    ask("a-2", **ada)
    streams.reply("a-2", **ada, model="large")
    streams.event(Rate, "r-1", **ada, prompt_id="a-2", thumb="down", correction="corrected")
    # Somebody else's rating of her answer does not count.
    streams.event(Rate, "r-2", **bob, prompt_id="a-2", thumb="up")
    streams.event(Reset, "x-1", **ada)
    ask("a-3", **ada)
    streams.reply("a-3", **ada)
    streams.event(Rate, "r-3", **ada, prompt_id="a-3", thumb="down")
    streams.event(Again, "a-4", **ada, prompt_id="a-3")
    streams.reply("a-4", **ada, prompt_text="text of a-3")
    streams.event(Rate, "r-4", **ada, prompt_id="a-4", thumb="up")
    ask("a-5", **ada, text="xylophone")
    streams.reply("a-5", **ada, prompt_text="xylophone", text="about xylophones")
    streams.event(Deleted, "d-1", **ada, prompt_id="a-5")
    ask("b-1", **bob)
    streams.reply("b-1", **bob)
    ask("b-2", **bob, attachments=(Attachment(name="a.txt", media_type="text/plain"),))
    streams.reply("b-2", **bob)
    ask("c-1", **cleo)
    streams.reply("c-1", **cleo)
    streams.event(Configure, "k-1", **cleo, settings={"training": "no"})
    ask("s-1")
    streams.reply("s-1")
    ask("s-2", place=PLACE.model_copy(update={"channel": "C3"}))
    streams.reply("s-2")
    streams.reply("s-0")  # its question was not recorded
    engine = opened(database_url)
    record(engine, *streams.messages)
    return engine


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def said(line: dict[str, Any]) -> list[str]:
    return [message["content"] for message in line["messages"]]


def manifest_of(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.with_name(f"{file.name}.manifest.json").read_text())
    return found


def an_hour_later(message: Stored) -> Stored:
    """The message, stored after all others."""
    at = message.stored_at + timedelta(hours=1)
    return replace(message, sequence=message.sequence + 100, stored_at=at)


def test_chats_are_exported_in_a_fixed_order_with_a_manifest(
    engine: sa.Engine, export: Export, tmp_path: Path
) -> None:
    """The same on both databases; the file, its manifest and the database agree."""
    done = export("chat", THREADWAX_TRAINING_ATTESTED=ATTESTED)
    assert done.exit_code == 0, done.stderr
    out = tmp_path / "out"
    assert list(map(said, lines_of(out))) == [
        IN_CHANNEL,
        ["You are kind.", "text of a-1", "answer to a-1"],
        ["text of a-1", "answer to a-1", "text of a-2", "corrected"],
        ["text of a-3", "answer to a-4"],
        ["text of b-1", "answer to b-1"],
    ]
    assert f"wrote 5 examples of 3 people to {out}" in done.stdout
    for expected in (
        "1 turn of people who do not allow training",
        "1 turn rated down without a correction",
        "1 turn without words",
        "1 turn about files",
        "  slack C3: 1",
        "  slack (channel not recorded): 1",
        "THREADWAX_TRAINING_ATTESTED",
    ):
        assert expected in done.stderr
    manifest = manifest_of(out)
    people = ["slack:ada", "terminal:ada", "terminal:bob"]
    assert manifest["people"] == people == list(people_of(out))
    assert manifest["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert manifest["attestations"] == json.loads(ATTESTED)
    assert (manifest["examples"], manifest["turns"]) == (5, 11)
    assert manifest["left_out"] == {
        "not_attested": 2, "opted_out": 1, "rated_down": 1, "with_files": 1, "wordless": 1,
    }  # fmt: skip
    assert sum(manifest["left_out"].values()) + manifest["examples"] == manifest["turns"]
    for file in (out, tmp_path / "out.manifest.json"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not list(tmp_path.glob(".*"))
    rows = dump(engine)
    (row,) = rows["exports"]
    assert (row["id"], row["path"], row["format"], row["sha256"], row["examples"]) == (
        manifest["id"], str(out), "chat", manifest["sha256"], 5,
    )  # fmt: skip
    assert [each["user_id"] for each in rows["export_people"]] == people
    assert len(read_chat_file(out).examples) == 5

    first = out.read_bytes()
    assert "add --replace" in export("chat", THREADWAX_TRAINING_ATTESTED=ATTESTED).stderr
    again = export("chat", "--replace", THREADWAX_TRAINING_ATTESTED=ATTESTED)
    assert again.exit_code == 0, again.stderr
    assert out.read_bytes() == first
    engine.dispose()


def test_filters_preferences_and_tables(engine: sa.Engine, export: Export, tmp_path: Path) -> None:
    engine.dispose()
    out = tmp_path / "out"

    def written(format_: str, *options: str) -> list[dict[str, Any]]:
        done = export(format_, "--replace", *options)
        assert done.exit_code == 0, done.stderr
        lines = lines_of(out)
        for line in lines:
            jsonschema.validate(line, SCHEMAS[format_])
        return lines

    assert list(map(said, written("chat", "--model", "large", "--context-turns", "0"))) == [
        ["text of a-2", "corrected"]
    ]
    assert len(written("chat", "--person", "terminal:bob")) == 1
    assert len(written("chat", "--rating", "up")) == 1
    assert len(written("chat", "--rating", "none", "--platform", "terminal")) == 2
    assert len(written("chat", "--until", "2026-11-26T12:00:02")) == 1
    pairs = [
        (line["preferred_output"][0]["content"], line["non_preferred_output"][0]["content"])
        for line in written("dpo")
    ]
    assert pairs == [("corrected", "answer to a-2"), ("answer to a-4", "answer to a-3")]
    assert export("dpo", "--replace", "--rating", "up").exit_code == 2
    none = export("chat", "--replace", "--since", "2026-11-27")
    assert (none.exit_code, "no recorded turn matches" in none.stderr) == (1, True)
    assert manifest_of(out)["format"] == "dpo"  # an export without contents replaces nothing

    done = export("csv", "--replace", "--person", "terminal:ada")
    assert done.exit_code == 0, done.stderr
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [row["prompt_id"] for row in rows] == ["a-1", "a-2", "a-3", "a-4"]
    assert (rows[1]["thumb"], rows[1]["correction"], rows[3]["replaces"]) == (
        "down", "corrected", "a-3",
    )  # fmt: skip
    assert rows[0]["said_at"].endswith("+00:00")


@pytest.mark.parametrize(
    ("options", "package"),
    [(("parquet",), "pyarrow"), (("chat", "--redact"), "presidio_analyzer")],
)
def test_a_missing_extra_is_named(
    *,
    engine: sa.Engine,
    export: Export,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    package: str,
) -> None:
    """It says how to install it, and writes nothing."""
    engine.dispose()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    done = export(*options)
    assert done.exit_code == lifecycle.CANNOT_START
    assert f"needs {package}, which is not installed: run `make setup-export`" in done.stderr
    assert not (tmp_path / "out").exists()


def test_who_is_forgotten_or_changes_their_mind_is_in_no_export(
    engine: sa.Engine, export: Export, tmp_path: Path
) -> None:
    later = Streams()
    cleo = {"user": "terminal:cleo", "place": TERMINAL}
    bob = {"user": "terminal:bob", "place": TERMINAL}
    later.event(Configure, "k-2", **cleo, settings={"training": "yes"})
    later.event(Forget, "f-1", **bob)
    record(engine, *map(an_hour_later, later.messages))
    engine.dispose()
    done = export("chat")
    assert done.exit_code == 0, done.stderr
    assert manifest_of(tmp_path / "out")["people"] == ["terminal:ada", "terminal:cleo"]
    assert "bob" not in (tmp_path / "out").read_text()


@pytest.mark.parametrize("change", [Deleted, Forget, Configure])
def test_a_withdrawal_during_an_export_begins_it_again(
    engine: sa.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: type[Deleted | Forget | Configure],
) -> None:
    """What the recorder writes between reading and the end must not be in the file."""
    fields: dict[str, Any] = {
        Deleted: {"prompt_id": "b-1"}, Forget: {}, Configure: {"settings": {"training": "no"}},
    }[change]  # fmt: skip
    streams = Streams()
    streams.event(change, "w-1", user="terminal:bob", place=TERMINAL, **fields)
    (message,) = streams.messages
    attempts = []

    def registering(*arguments: Any, **options: Any) -> None:
        attempts.append(arguments)
        register(*arguments, **options)

    def withdrawing(*arguments: Any, **options: Any) -> Any:
        if not attempts:
            record(engine, an_hour_later(message))
        return manifest_of_export(*arguments, **options)

    register, manifest_of_export = export_run.register, export_run.manifest_of
    monkeypatch.setattr(export_run, "register", registering)
    monkeypatch.setattr(export_run, "manifest_of", withdrawing)
    out = tmp_path / "out"
    export_run.export(engine, Order("chat", Filters(), Consent()), out)
    assert len(attempts) == 2
    assert "b-1" not in out.read_text()
    assert manifest_of(out)["people"] == ["terminal:ada"]
    assert len(dump(engine)["exports"]) == 1
    engine.dispose()


async def test_from_a_chat_to_training_data(
    *,
    nats: NatsServer,
    fake_model: FakeModel,
    database_url: str,
    export: Export,
    tmp_path: Path,
) -> None:
    """Two people chat. One rates and corrects, the other opts out, all in the chat itself."""
    flow = dataflow(tmp_path / "flow", nats.url, fake_model.base_url).start()
    home = tmp_path / "recorder"
    home.mkdir()
    environment = {"NATS_URL": nats.url, "THREADWAX_HOME": str(home), "DATABASE_URL": database_url}
    recorder = Running("recorder", log=home / "log", env=environment).start()
    try:
        await flow.ready()
        await asyncio.to_thread(
            _chat, environment, "bob", "the secret of bob\n/privacy training off\n"
        )
        await asyncio.to_thread(
            _chat, environment, "ada",
            "capital of Kenya?\n/bad not a city\n/correct Nairobi\n/bad\nand of Peru?\n",
        )  # fmt: skip
        engine = opened(database_url)
        # The streams are read independently: an answer can be there before its question.
        expected = {"questions": 3, "answers": 3, "people": 1}
        rows = await until_recorded(
            engine,
            lambda rows: (
                len(rows["events"]) == 4
                and expected == {name: len(rows[name]) for name in expected}
            ),
        )
        (rating,) = rows["ratings"]
        answers = {row["prompt_id"]: row["text"] for row in rows["answers"]}
        wrong = answers[rating["prompt_id"]]
        engine.dispose()
    finally:
        flow.kill()
        recorder.kill()
    report = CliRunner().invoke(threadwax, ["ratings"], env={"DATABASE_URL": database_url})
    assert report.exit_code == 0, report.stderr
    rated = "Rated down by terminal:ada: not a city"
    for line in ("> capital of Kenya?", wrong, rated, "> Nairobi"):
        assert line in report.stdout.splitlines()
    assert "Peru" not in report.stdout
    assert export("dpo").exit_code == 0
    (pair,) = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert pair["input"]["messages"][-1]["content"] == "capital of Kenya?"
    assert pair["preferred_output"][0]["content"] == "Nairobi"
    assert pair["non_preferred_output"][0]["content"] == wrong
    done = export("chat", "--replace")
    assert done.exit_code == 0, done.stderr
    assert "left out: 1 turn of people who do not allow training" in done.stderr
    first, second = read_chat_file(tmp_path / "out").examples
    assert [message.content for message in first.messages] == ["capital of Kenya?", "Nairobi"]
    assert [message.content for message in second.messages[:1]] == ["capital of Kenya?"]
    assert [message.trained for message in second.messages] == [False, False, False, True]
    assert people_of(tmp_path / "out") == ("terminal:ada",)
    assert "secret" not in (tmp_path / "out").read_text()


def _chat(environment: dict[str, str], user: str, lines: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "ops", "chat", "--user", user],
        input=lines, text=True, check=True, timeout=60, capture_output=True,
        env={**os.environ, **environment, "OPENAI_API_KEY": "test"},
    )  # fmt: skip
