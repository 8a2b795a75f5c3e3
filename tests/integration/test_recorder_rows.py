"""What the recorder writes for each message, on SQLite and PostgreSQL, without its processes.

Whatever order the streams are read in, however they are cut into batches, and however often a
batch is written again: the rows are the same.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dataflow.recorder.changes import Stored, changes_of
from dataflow.recorder.writer import positions_of
from shared import names
from shared.database.engine import writing
from shared.database.tables import metadata
from shared.event_parsing import Unreadable
from shared.messages import (
    Again,
    Ask,
    Attachment,
    Configure,
    Deleted,
    Edited,
    Forget,
    Quote,
    Rate,
    Reset,
    Stop,
)
from shared.replies import BackgroundCall, Reply, Timings, Usage
from tests.recorded import START, Streams, dump, opened, record


@pytest.fixture(name="engine")
def _engine(database_url: str) -> Iterator[sa.Engine]:
    engine = opened(database_url)
    yield engine
    engine.dispose()


def rows(engine: sa.Engine, table: str) -> list[Mapping[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(metadata.tables[table].select()).mappings()]


def only(engine: sa.Engine, table: str) -> Mapping[str, Any]:
    (row,) = rows(engine, table)
    return row


def test_a_question_is_recorded_with_everything_but_the_files_themselves(engine: sa.Engine) -> None:
    streams = Streams()
    streams.event(
        Ask, "q-1", text="Grüße 🙂", persona="a pirate", model="large",
        attachments=(Attachment(name="a.txt", media_type="text/plain", text="secret"),),
        quotes=(Quote(author="Bob", text="well"),),
    )  # fmt: skip
    record(engine, *streams.messages)
    assert only(engine, "questions") == {
        "prompt_id": "q-1", "user_id": "slack:ada", "platform": "slack", "space": "T1",
        "channel": "C2", "thread": "17", "audience": "private", "alone": True, "kind": "ask",
        "text": "Grüße 🙂", "attachments": [{"name": "a.txt", "media_type": "text/plain"}],
        "quotes": [{"author": "Bob", "text": "well"}], "persona": "a pirate", "model": "large",
        "replaces": None, "said_at": START, "stored_at": START, "deleted_at": None,
    }  # fmt: skip


def test_an_answer_is_recorded_with_its_cost_and_the_time_of_each_stage(engine: sa.Engine) -> None:
    streams = Streams()
    called, first = START + timedelta(milliseconds=100), START + timedelta(milliseconds=300)
    streams.reply(
        "q-1", text="Hi", prompt_text="Hello", model="gpt-6-luna", experiment="luna",
        usage=Usage(
            prompt_tokens=1000, completion_tokens=100, cached_tokens=500, reasoning_tokens=50
        ),
        timings=Timings(called_at=called, first_token_at=first), said_at=START, answered_at=START,
    )  # fmt: skip
    streams.receipt("q-1", b"")  # claimed
    streams.receipt("q-1", b"1700.1\n")
    record(engine, *streams.messages)
    assert only(engine, "answers") == {
        "prompt_id": "q-1", "user_id": "slack:ada", "outcome": "answered", "text": "Hi",
        "prompt_text": "Hello", "model": "gpt-6-luna", "prompt_tokens": 1000,
        "completion_tokens": 100, "cached_tokens": 500, "reasoning_tokens": 50,
        "cost_microdollars": 105, "said_at": START, "called_at": called, "first_token_at": first,
        "answered_at": START, "journaled_at": START, "shown_at": START + timedelta(seconds=2),
        "experiment": "luna",
    }  # fmt: skip


def test_calls_that_answer_no_question_are_recorded_with_their_cost(engine: sa.Engine) -> None:
    """A reply that comes again, or names somebody else's question, adds none."""
    tokens = Usage(prompt_tokens=2_000_000, completion_tokens=10)
    calls = (
        BackgroundCall(kind="summary", model="gpt-6-luna", usage=tokens),
        BackgroundCall(kind="summary", model="mine\0", usage=None),
    )
    streams = Streams()
    streams.reply("q-1", background=calls)
    streams.reply("q-1", user="slack:bob", background=calls[:1])
    first, other = streams.messages
    record(engine, first, first, other)
    record(engine, first)
    record(engine, other)
    paid, unknown = sorted(rows(engine, "background_usage"), key=lambda row: row["number"])
    assert paid == {
        "prompt_id": "q-1", "number": 0, "user_id": "slack:ada", "kind": "summary",
        "model": "gpt-6-luna", "prompt_tokens": 2_000_000, "completion_tokens": 10,
        "cached_tokens": None, "reasoning_tokens": None, "cost_microdollars": 200_000 + 5,
        "said_at": START - timedelta(milliseconds=500), "journaled_at": START,
    }  # fmt: skip
    assert (unknown["model"], unknown["prompt_tokens"], unknown["cost_microdollars"]) == (
        "mine\ufffd", None, None,
    )  # fmt: skip
    streams.event(Forget, "f-1")
    record(engine, streams.messages[-1])
    assert rows(engine, "background_usage") == []
    record(engine, first)
    assert rows(engine, "background_usage") == []


def test_a_reply_without_a_model_call_has_no_tokens_and_no_cost(engine: sa.Engine) -> None:
    streams = Streams()
    streams.reply("q-1", outcome="refused")
    streams.receipt("q-1", b"-\n")  # it was never posted
    record(engine, *streams.messages)
    row = only(engine, "answers")
    empty = ("prompt_tokens", "cost_microdollars", "called_at", "first_token_at", "shown_at")
    assert [row[name] for name in empty] == [None] * len(empty)


def test_an_unknown_price_is_no_price_of_zero(engine: sa.Engine) -> None:
    streams = Streams()
    streams.reply("q-1", model="llama-of-mine", usage=Usage(prompt_tokens=10**30))
    record(engine, *streams.messages)
    assert only(engine, "answers")["cost_microdollars"] is None
    assert only(engine, "answers")["prompt_tokens"] == 2**63 - 1


def test_the_latest_rating_counts_until_it_is_taken_back(engine: sa.Engine) -> None:
    streams = Streams()
    streams.event(Rate, "r-1", prompt_id="q-1", thumb="up")
    streams.event(Rate, "r-2", prompt_id="q-1", thumb="down", reason="wrong", correction="5")
    streams.event(Rate, "r-3", prompt_id="q-1", thumb="up", user="slack:bob")
    streams.event(Rate, "r-4", prompt_id="q-1", thumb="none", user="slack:bob")
    record(engine, *streams.messages)
    row = only(engine, "ratings")
    assert (row["thumb"], row["reason"], row["correction"]) == ("down", "wrong", "5")
    assert row["rated_at"] == START + timedelta(seconds=1)
    assert [row["kind"] for row in rows(engine, "events")] == ["rate"] * 4


@pytest.mark.parametrize("at_once", [True, False])
def test_the_same_thumb_again_keeps_the_words(engine: sa.Engine, at_once: bool) -> None:
    """People press it again without writing again what was wrong. Another thumb drops the words."""
    streams = Streams()
    streams.event(Rate, "r-1", prompt_id="q-1", thumb="down", reason="wrong", correction="5")
    streams.event(Rate, "r-2", prompt_id="q-1", thumb="down")
    streams.event(Rate, "s-1", prompt_id="q-2", thumb="down", reason="wrong")
    streams.event(Rate, "s-2", prompt_id="q-2", thumb="up")
    streams.event(Rate, "s-3", prompt_id="q-2", thumb="down")
    for messages in [streams.messages] if at_once else [[each] for each in streams.messages]:
        record(engine, *messages)
    found = [(row["thumb"], row["reason"], row["correction"]) for row in rows(engine, "ratings")]
    assert found == [("down", "wrong", "5"), ("down", None, None)]


def test_what_people_did_is_recorded(engine: sa.Engine) -> None:
    streams = Streams()
    streams.event(Stop, "e-1", prompt_id="q-1")
    streams.event(Reset, "e-2")
    streams.event(Edited, "e-3", prompt_id="q-1", text="Hello!", ask_again=True)
    streams.event(Again, "e-4", prompt_id="q-1")
    streams.event(Configure, "e-5", settings={"training": "no", "tone": "brief"})
    streams.event(Configure, "e-6", settings={"training": "perhaps"})
    record(engine, *streams.messages)
    done = [(row["kind"], row["prompt_id"], row["text"]) for row in rows(engine, "events")]
    assert sorted(done, key=str) == sorted(
        [
            ("stop", "q-1", None), ("reset", None, None), ("edited", "q-1", "Hello!"),
            ("configure", None, "tone=brief\ntraining=no"), ("configure", None, "training=perhaps"),
        ],
        key=str,
    )  # fmt: skip
    asked = [(row["kind"], row["replaces"], row["text"]) for row in rows(engine, "questions")]
    assert sorted(asked, key=str) == [("again", "q-1", None), ("edited", "q-1", "Hello!")]
    assert only(engine, "people")["training_allowed"] is False


def test_a_decision_that_is_read_again_does_not_replace_a_newer_one(engine: sa.Engine) -> None:
    """Otherwise an export during `recorder --rebuild` would have the words of a person who left."""
    streams = Streams()
    streams.event(Configure, "e-1", settings={"training": "yes"})
    streams.event(Configure, "e-2", settings={"training": "no"})
    for message in [*streams.messages, streams.messages[0]]:
        record(engine, message)
    assert only(engine, "people")["training_allowed"] is False


def test_deleting_a_question_wipes_its_words_everywhere(engine: sa.Engine) -> None:
    streams = Streams()
    streams.event(Ask, "q-1", text="xylophone", quotes=(Quote(author="xylophone", text="x"),))
    streams.reply("q-1", text="xylophone", prompt_text="xylophone")
    streams.event(Rate, "r-1", prompt_id="q-1", thumb="down", correction="xylophone")
    streams.event(Edited, "q-2", prompt_id="q-1", text="xylophone", ask_again=True)
    streams.reply("q-2", text="xylophone")
    streams.event(Again, "q-3", prompt_id="q-2")
    streams.event(Ask, "q-9", text="other")
    streams.event(Deleted, "d-1", prompt_id="q-1")
    streams.reply("q-3", text="xylophone")  # answered when it was deleted
    for message in streams.messages:
        record(engine, message)
    assert "xylophone" not in str(dump(engine))
    deleted = {row["prompt_id"]: row["deleted_at"] for row in rows(engine, "questions")}
    at = START + timedelta(seconds=7)
    assert deleted == {"q-1": at, "q-2": at, "q-3": at, "q-9": None}
    assert {row["prompt_id"] for row in rows(engine, "answers")} == {"q-1", "q-2", "q-3"}


def test_nobody_deletes_or_overwrites_the_words_of_others(engine: sa.Engine) -> None:
    streams = Streams()
    streams.event(Ask, "q-1", text="mine")
    streams.reply("q-1", text="mine")
    streams.event(Rate, "r-1", prompt_id="q-1", thumb="down", reason="mine")
    streams.event(Deleted, "d-1", user="slack:eve", prompt_id="q-1")
    streams.event(Ask, "q-1", user="slack:eve", text="hers")
    streams.reply("q-1", user="slack:eve", text="hers")
    streams.receipt("q-1", b"x\n", platform="discord")
    record(engine, *streams.messages)
    record(engine, *streams.messages)
    for table in ("questions", "answers"):
        assert (only(engine, table)["user_id"], only(engine, table)["text"]) == (
            "slack:ada",
            "mine",
        )
    assert only(engine, "ratings")["reason"] == "mine"
    assert only(engine, "answers")["shown_at"] is None


def test_a_forgotten_person_leaves_nothing_but_the_fact(engine: sa.Engine) -> None:
    streams = Streams()
    streams.event(Ask, "q-1", text="xylophone")
    streams.event(Ask, "b-1", user="slack:bob", text="mine")
    streams.event(Rate, "r-1", prompt_id="q-1", thumb="down", reason="xylophone")
    streams.event(Forget, "f-1")
    streams.reply("q-1", text="xylophone", said_at=START)  # it was in progress
    streams.event(Ask, "q-2", text="again here")
    streams.reply("q-2")
    for message in streams.messages:
        record(engine, message)
    assert "xylophone" not in str(dump(engine))
    assert {row["prompt_id"] for row in rows(engine, "questions")} == {"b-1", "q-2"}
    assert {row["prompt_id"] for row in rows(engine, "answers")} == {"q-2"}
    assert [row["kind"] for row in rows(engine, "events")] == ["forget"]
    assert only(engine, "people")["forgotten_at"] == START + timedelta(seconds=3)


def test_text_that_postgresql_cannot_store_is_repaired(engine: sa.Engine) -> None:
    streams = Streams()
    streams.event(Ask, "q-1", text="a\0b")
    streams.reply("q-1", text="a\0b\ud83d")
    record(engine, *streams.messages)
    assert only(engine, "questions")["text"] == "a\ufffdb"
    assert only(engine, "answers")["text"] == "a\ufffdb\ufffd"


@pytest.mark.parametrize("wrong", ["user", "prompt_id"])
def test_a_reply_on_another_subject_is_not_recorded(wrong: str) -> None:
    streams = Streams()
    streams.reply("q-1")
    (stored,) = streams.messages
    reply = Reply.model_validate_json(stored.data)
    other = {"user": "slack:eve", "prompt_id": "q-2"}[wrong]
    data = reply.model_copy(update={wrong: other}).wire()
    moved = Stored(stored.stream, stored.subject, data, 1, START, START)
    with pytest.raises(Unreadable, match="another user or question"):
        changes_of(moved, {})


def _everything() -> list[Stored]:
    streams = Streams()
    for number in range(4):
        user = f"slack:u{number % 2}"
        streams.event(Ask, f"q-{number}", user=user, text=f"text {number}")
        usage = Usage(prompt_tokens=number)
        streams.reply(
            f"q-{number}", user=user, model="demo", usage=usage,
            background=(BackgroundCall(kind="summary", model="demo", usage=usage),),
        )  # fmt: skip
        streams.receipt(f"q-{number}", b"1\n")
        streams.event(Rate, f"r-{number}", user=user, prompt_id=f"q-{number}", thumb="down",
                      reason="why")  # fmt: skip
    streams.event(Again, "a-1", user="slack:u1", prompt_id="q-1")
    streams.event(Deleted, "d-1", user="slack:u1", prompt_id="q-1")
    streams.reply("a-1", user="slack:u1")
    streams.event(Rate, "r-9", user="slack:u1", prompt_id="q-3", thumb="none")
    streams.event(Configure, "c-1", user="slack:u0", settings={"training": "no"})
    streams.event(Forget, "f-1", user="slack:u0")
    streams.event(Ask, "q-8", user="slack:u0", text="new")
    streams.reply("q-8", user="slack:u0")
    return streams.messages


@pytest.fixture(name="pair")
def _pair(tmp_path: Path) -> Iterator[tuple[sa.Engine, sa.Engine]]:
    pair = (
        opened(f"sqlite:///{tmp_path / 'a.sqlite'}"),
        opened(f"sqlite:///{tmp_path / 'b.sqlite'}"),
    )
    yield pair
    for engine in pair:
        engine.dispose()


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
@given(data=st.data())
def test_the_rows_depend_neither_on_order_nor_on_batches_nor_on_repetitions(
    pair: tuple[sa.Engine, sa.Engine], data: st.DataObject
) -> None:
    messages = _everything()
    plain, shuffled = pair
    for engine in pair:
        with writing(engine) as connection:
            for table in metadata.sorted_tables:
                connection.execute(table.delete())
    record(plain, *messages)
    left = {
        stream: [message for message in messages if message.stream == stream]
        for stream in (names.PROMPTS, names.REPLIES, names.RECEIPTS_STREAM)
    }
    while any(left.values()):
        stream = data.draw(st.sampled_from([stream for stream in left if left[stream]]))
        count = data.draw(st.integers(1, len(left[stream])))
        record(shuffled, *left[stream][:count])
        if data.draw(st.booleans()):  # killed before the position counted
            record(shuffled, *left[stream][:count])
        del left[stream][:count]
    if data.draw(st.booleans()):  # rebuilt over the rows that are there
        record(shuffled, *messages)
    assert dump(shuffled) == dump(plain)
    with plain.connect() as connection, shuffled.connect() as other:
        assert positions_of(connection) == positions_of(other)
