"""The commands that read the database: usage, ratings and history, on both databases."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ops.cli import threadwax
from shared.messages import Ask, Attachment, Deleted, Rate
from shared.replies import BackgroundCall, Timings, Usage
from tests.recorded import Streams, opened, record

Command = Callable[..., Result]


@pytest.fixture(name="run")
def _run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command on the database."""

    def run(*command: str, **env: str) -> Result:
        monkeypatch.setenv("COLUMNS", "150")
        return CliRunner().invoke(threadwax, command, env={"DATABASE_URL": database_url, **env})

    return run


@pytest.fixture(name="filled")
def _filled(database_url: str) -> None:
    """Two people, three models, one day."""
    streams = Streams()
    luna = Usage(prompt_tokens=1_000_000, completion_tokens=100_000, cached_tokens=400_000)
    streams.event(Ask, "a-1", text="How many\x1b[31m?",
                  attachments=(Attachment(name="a.txt", media_type="text/plain"),))  # fmt: skip
    streams.reply("a-1", model="gpt-6-luna", usage=luna, text="Four.", prompt_text="How many?")
    streams.event(Rate, "r-1", prompt_id="a-1", thumb="down", reason="wrong", correction="Five.")
    streams.event(Ask, "a-2", text="xylophone")
    streams.reply("a-2", outcome="failed", text="xylophone")
    streams.event(Deleted, "d-1", prompt_id="a-2")
    streams.event(Ask, "b-1", user="slack:bob", text="Hi")
    streams.reply("b-1", user="slack:bob", model="llama-of-mine", usage=Usage(prompt_tokens=10))
    streams.event(Rate, "r-2", user="slack:bob", prompt_id="b-1", thumb="up")
    streams.reply("b-2", user="slack:bob", model="demo", usage=Usage(prompt_tokens=7))
    engine = opened(database_url)
    record(engine, *streams.messages)
    engine.dispose()


def parsed(done: Result) -> Any:
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.usefixtures("filled")
def test_usage_adds_up_by_what_one_wants(run: Command) -> None:
    by = {name: parsed(run("usage", "--by", name, "--json"))
          for name in ("user", "day", "model", "place")}  # fmt: skip
    for name, report in by.items():
        assert report["total"]["questions"] == 4, name
        assert report["total"]["microdollars"] == 60_000 + 4_000 + 50_000, name
        assert report["total"]["prompt_tokens"] == 1_000_017, name
        assert (report["total"]["up"], report["total"]["down"]) == (1, 1), name
        assert report["models_without_price"] == ["llama-of-mine"], name
    assert [group["user"] for group in by["user"]["groups"]] == ["slack:ada", "slack:bob"]
    assert [group["day"] for group in by["day"]["groups"]] == ["2026-11-26"]
    models = {group["model"]: group["questions"] for group in by["model"]["groups"]}
    assert models == {
        "(no model was asked)": 1, "gpt-6-luna": 1, "llama-of-mine": 1, "demo": 1,
    }  # fmt: skip
    places = {group["place"]: group["questions"] for group in by["place"]["groups"]}
    assert places == {"slack/T1/C2": 3, "(question not recorded)": 1}


@pytest.mark.usefixtures("filled")
def test_usage_names_models_without_a_price_and_takes_prices(run: Command) -> None:
    done = run("usage", "--by", "model")
    assert done.exit_code == 0, done.stderr
    assert "the price of llama-of-mine is unknown: set THREADWAX_PRICES" in done.stdout
    assert "0.1140+" in done.stdout
    prices = '{"llama-of-mine": {"input": 2, "output": 1}}'
    priced = parsed(run("usage", "--by", "model", "--json", THREADWAX_PRICES=prices))
    assert priced["models_without_price"] == []
    assert priced["total"]["microdollars"] == 114_020
    assert parsed(run("usage", "--json", "--since", "2026-11-27"))["groups"] == []
    assert "neither a date such as" in run("usage", "--since", "yesterday").stderr


def test_calls_for_summaries_are_counted_apart(run: Command, database_url: str) -> None:
    """By their own model, and in the place and on the day of the reply that reports them."""
    tokens = Usage(prompt_tokens=1_000_000, completion_tokens=100, cached_tokens=400_000)
    calls = tuple(
        BackgroundCall(kind="summary", model=model, usage=tokens) for model in ("gpt-6-luna", "new")
    )
    streams = Streams()
    streams.event(Ask, "a-1", text="How many?")
    streams.reply("a-1", model="demo", usage=Usage(prompt_tokens=7), background=calls)
    engine = opened(database_url)
    record(engine, *streams.messages)
    engine.dispose()
    for by in ("user", "day", "model", "place", "experiment"):
        report = parsed(run("usage", "--by", by, "--json"))
        total = report["total"]
        assert (total["questions"], total["prompt_tokens"], total["microdollars"]) == (1, 7, 0), by
        assert (
            total["background_calls"], total["background_prompt_tokens"],
            total["background_cached_tokens"], total["background_completion_tokens"],
            total["background_microdollars"], total["background_without_price"],
        ) == (2, 2_000_000, 800_000, 200, 64_050, 1), by  # fmt: skip
        assert report["models_without_price"] == ["new"]
        assert len(report["groups"]) == (3 if by == "model" else 1), by
    printed = run("usage").stdout
    assert "In addition, 2 calls for summaries used 2,000,000 tokens of input" in printed
    assert "US$ 0.0640+" in printed or "US$ 0.0641+" in printed
    assert parsed(run("usage", "--json", "--since", "2026-11-27"))["groups"] == []


@pytest.mark.usefixtures("filled")
def test_history_is_one_persons_and_without_what_was_deleted(run: Command) -> None:
    done = run("history", "slack:ada")
    assert done.exit_code == 0, done.stderr
    for wanted in ("> How many?", "Four.", "[file: a.txt]", "Rated down by slack:ada: wrong",
                   "> Five.", "(deleted)"):  # fmt: skip
        assert wanted in done.stdout
    for unwanted in ("xylophone", "bob", "\x1b", "Hi"):
        assert unwanted not in done.stdout
    found = parsed(run("history", "slack:ada", "--json"))["history"]
    assert [entry["prompt_id"] for entry in found] == ["a-1", "a-2"]
    assert (found[0]["answer"], found[0]["thumb"]) == ("Four.", "down")
    assert run("history", "slack:nobody").exit_code == 1
    assert "platform:name" in run("history", "ada").stderr


@pytest.mark.usefixtures("filled")
def test_ratings_are_joined_to_their_turn(run: Command) -> None:
    (entry,) = parsed(run("ratings", "--json"))["ratings"]
    assert (entry["question"], entry["answer"], entry["correction"], entry["model"]) == (
        "How many?", "Four.", "Five.", "gpt-6-luna",
    )  # fmt: skip
    assert len(parsed(run("ratings", "--all", "--json"))["ratings"]) == 2
    assert "It should have been:" in run("ratings").stdout


def test_models_and_experiments_are_compared(run: Command, database_url: str) -> None:
    """By ratings, cost and time; failures count in the group whose model failed."""
    streams = Streams()
    tokens = Usage(prompt_tokens=1_000_000, completion_tokens=0)
    answered: list[tuple[str, str, int]] = [
        ("terra", "gpt-6.1-terra", 4), ("terra", "", 1), ("", "gpt-6-luna", 1),
        ("", "gpt-6-luna", 2), ("", "", 0),
    ]  # fmt: skip
    for number, (experiment, model, seconds) in enumerate(answered):
        first = streams.now - timedelta(seconds=seconds)
        timings = Timings(called_at=first - timedelta(seconds=seconds), first_token_at=first)
        streams.reply(
            f"q-{number}", model=model, experiment=experiment, usage=tokens if model else None,
            outcome="answered" if model else "failed" if seconds else "refused",
            timings=timings if seconds else None,
        )  # fmt: skip
    streams.event(Rate, "r-1", prompt_id="q-0", thumb="up")
    streams.event(Rate, "r-2", prompt_id="q-2", thumb="down")
    engine = opened(database_url)
    record(engine, *streams.messages)
    engine.dispose()

    groups = {
        group["experiment"]: group
        for group in parsed(run("usage", "--by", "experiment", "--json"))["groups"]
    }
    assert {name: group["questions"] for name, group in groups.items()} == {
        "terra": 2, "(no experiment)": 2, "(no model was asked)": 1,
    }  # fmt: skip
    terra, usual = groups["terra"], groups["(no experiment)"]
    assert (terra["answered"], terra["up"], terra["down"]) == (1, 1, 0)
    assert (usual["answered"], usual["up"], usual["down"]) == (2, 0, 1)
    assert (terra["microdollars"], usual["microdollars"]) == (1_000_000, 200_000)
    assert (terra["mean_first_text_ms"], terra["mean_answer_ms"]) == (4000, 8000)
    assert (usual["mean_first_text_ms"], usual["mean_answer_ms"]) == (1500, 3000)
    assert groups["(no model was asked)"]["mean_answer_ms"] is None
    (model,) = [
        group for group in parsed(run("usage", "--by", "model", "--json"))["groups"]
        if group["model"] == "gpt-6-luna"
    ]  # fmt: skip
    assert model["mean_answer_ms"] == 3000
    printed = run("usage", "--by", "experiment").stdout
    (line,) = [line for line in printed.splitlines() if line.startswith("terra")]
    assert line.split()[-5:] == ["1.00000", "4.0", "s", "8.0", "s"]
    assert "first text" not in run("usage", "--by", "day").stdout


def test_without_a_database_the_commands_say_what_to_do(run: Command) -> None:
    for command in (("usage",), ("ratings",), ("history", "slack:ada")):
        done = run(*command)
        assert done.exit_code == 1
        assert "run `threadwax up` or `threadwax recorder`" in done.stderr
