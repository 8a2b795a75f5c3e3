"""What `threadwax export` writes, and what it leaves out. Pure: no database."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bots.privacy import choice_of
from dataflow.audience import may_recall, same_channel
from dataflow.model.answer_notes import LENGTH
from ops.export.contents import Format, Order, Summary, rows_of
from ops.export.manifest import manifest_of
from ops.export.redacted import Found, Redaction, redacted, replaced, without_overlaps
from ops.export.selection import Consent, Filters, LeftOut
from ops.export.table import COLUMNS
from ops.export.turns import CONTEXT_CHARS, History, Rating, Reset, Turn
from ops.finetune.chat_file import Example, example_of
from shared.messages import Place
from shared.settings import Settings

START = datetime(2026, 11, 26, 12, tzinfo=UTC)
HERE = Place(platform="terminal", channel="terminal", audience="direct")
CHANNEL = Place(platform="slack", space="T1", channel="C1", thread="9", audience="public")
AGREED = {"slack": {"C1": "Its members agreed"}}

# The documented fields of a line, of those that have only texts:
# https://developers.openai.com/api/docs/guides/supervised-fine-tuning
# https://developers.openai.com/api/docs/guides/direct-preference-optimization
# https://developers.openai.com/api/reference (FineTuneChatRequestInput and
# FineTunePreferenceRequestInput)
TEXT: Final = {"type": "string", "pattern": r"\S"}


def _message(role: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"role": {"const": role}, "content": TEXT, **more},
        "required": ["role", "content"],
        "additionalProperties": False,
    }


ASSISTANT: Final = _message("assistant")
ASKED: Final = [_message("system"), _message("user"), ASSISTANT]
SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "chat": {
        "type": "object",
        "properties": {
            "messages": {
                "type": "array",
                "minItems": 2,
                "items": {"oneOf": [*ASKED[:2], _message("assistant", weight={"enum": [0, 1]})]},
            }
        },
        "required": ["messages"],
        "additionalProperties": False,
    },
    "dpo": {
        "type": "object",
        "properties": {
            "input": {
                "type": "object",
                "properties": {
                    "messages": {"type": "array", "minItems": 1, "items": {"oneOf": ASKED}}
                },
                "required": ["messages"],
                "additionalProperties": False,
            },
            "preferred_output": {
                "type": "array", "minItems": 1, "maxItems": 1, "items": ASSISTANT,
            },
            "non_preferred_output": {
                "type": "array", "minItems": 1, "maxItems": 1, "items": ASSISTANT,
            },
        },
        "required": ["input", "preferred_output", "non_preferred_output"],
        "additionalProperties": False,
    },
}  # fmt: skip


def turn(number: int, **fields: Any) -> Turn:
    at = START + timedelta(minutes=number)
    return Turn(
        **{
            "prompt_id": f"q{number}", "user": "terminal:ada", "place": HERE, "kind": "ask",
            "replaces": None, "said_at": at, "answered_at": at + timedelta(seconds=1),
            "question": f"question {number}", "answer": f"answer {number}",
            "outcome": "answered", "model": "m", **fields,
        }
    )  # fmt: skip


def again(number: int, of: int, **fields: Any) -> Turn:
    fields = {"question": f"question {of}", **fields}
    return turn(number, kind="again", replaces=f"q{of}", **fields)


UP, DOWN = Rating("up"), Rating("down", "wrong")
CORRECTED = Rating("down", None, "corrected")


def exported(
    *turns: Turn, as_: Format = "chat", context: int = 8, resets: tuple[Reset, ...] = (),
    attested: dict[str, dict[str, str]] | None = None, **filters: Any,
) -> tuple[list[dict[str, Any]], Summary]:  # fmt: skip
    summary = Summary()
    order = Order(as_, Filters(**filters), Consent(attested or {}), context)
    lines = list(rows_of(turns, resets, order, summary))
    for line in lines if as_ in SCHEMAS else ():
        jsonschema.validate(line, SCHEMAS[as_])
    return lines, summary


def said(line: dict[str, Any]) -> list[str]:
    return [message["content"] for message in line["messages"]]


def test_a_chat_ends_with_the_answer_to_learn() -> None:
    """Earlier answers give context only: each is learned from its own line."""
    lines, summary = exported(turn(1, persona="You are kind."), turn(2))
    assert said(lines[0]) == ["You are kind.", "question 1", "answer 1"]
    assert said(lines[1]) == ["question 1", "answer 1", "question 2", "answer 2"]
    assert [message.get("weight") for message in lines[1]["messages"]] == [None, 0, None, None]
    assert summary.examples == 2
    assert summary.people == {"terminal:ada"}


def test_a_correction_is_learned_but_was_not_said() -> None:
    lines, _ = exported(turn(1, rating=CORRECTED), turn(2))
    assert said(lines[0]) == ["question 1", "corrected"]
    assert said(lines[1])[:2] == ["question 1", "answer 1"]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"outcome": "stopped"}, LeftOut.NOT_ANSWERED),
        ({"outcome": "failed"}, LeftOut.NOT_ANSWERED),
        ({"question": None, "answer": None}, LeftOut.WORDLESS),
        ({"answer": LENGTH}, LeftOut.WORDLESS),
        ({"question": " "}, LeftOut.WORDLESS),
        ({"files": 1}, LeftOut.WITH_FILES),
        ({"quotes": 1}, LeftOut.WITH_FILES),
        ({"rating": DOWN}, LeftOut.RATED_DOWN),
        ({"answer": "half" + LENGTH}, LeftOut.CUT_OFF),
        ({"training_allowed": False}, LeftOut.OPTED_OUT),
        ({"user": "slack:ada", "place": CHANNEL}, LeftOut.NOT_ATTESTED),
        ({"user": "slack:ada", "place": None}, LeftOut.NOT_ATTESTED),
        ({"user": "slack:ada", "place": HERE}, LeftOut.NOT_ATTESTED),
        ({"user": "matrix:ada"}, LeftOut.NOT_ATTESTED),
    ],
)
def test_what_is_not_to_be_learned_is_counted_by_its_reason(
    fields: dict[str, Any], why: LeftOut
) -> None:
    lines, summary = exported(turn(1, **fields))
    assert lines == []
    assert summary.left_out == {why: 1}
    assert summary.people == set()


@pytest.mark.parametrize("as_", ["chat", "dpo", "csv", "parquet"])
def test_no_format_is_without_consent(as_: Format) -> None:
    """Any file can become training data."""
    corrected = {"rating": CORRECTED}
    opted_out = turn(1, training_allowed=False, **corrected)
    in_slack = turn(2, user="slack:ada", place=CHANNEL, **corrected)
    assert exported(opted_out, as_=as_)[0] == []
    lines, summary = exported(in_slack, as_=as_)
    assert (lines, dict(summary.not_attested)) == ([], {("slack", "C1"): 1})
    lines, summary = exported(in_slack, as_=as_, attested=AGREED)
    assert (len(lines), summary.attested) == (1, AGREED)
    assert exported(replace(in_slack, training_allowed=False), as_=as_, attested=AGREED)[0] == []
    assert len(exported(turn(3, training_allowed=True, **corrected), as_=as_)[0]) == 1


def test_only_the_last_answer_to_a_question_is_learned() -> None:
    """Unless an earlier one was rated up. In what follows, the one that was visible then counts."""
    lines, summary = exported(turn(1), again(2, 1), turn(3))
    assert [line["messages"][-1]["content"] for line in lines] == ["answer 2", "answer 3"]
    assert said(lines[0]) == ["question 1", "answer 2"]
    assert said(lines[1])[:2] == ["question 1", "answer 2"]
    assert summary.left_out == {LeftOut.ASKED_AGAIN: 1}
    assert len(exported(turn(1, rating=UP), again(2, 1))[0]) == 2
    between = exported(turn(1), turn(2), again(3, 1))[0]
    assert said(between[0])[:2] == ["question 1", "answer 1"]
    assert said(between[1]) == ["question 1", "answer 3"]
    assert len(exported(turn(1), again(2, 1, outcome="failed"))[0]) == 1


def test_what_came_with_a_question_comes_with_it_again() -> None:
    """The database has persona, files and quotes with the first question only."""
    assert exported(turn(1, files=1), again(2, 1))[0] == []
    assert said(exported(turn(1, persona="Kind."), again(2, 1))[0][0])[0] == "Kind."


def test_a_pair_is_a_correction_or_two_ratings_of_the_same_words() -> None:
    def pairs(*turns: Turn) -> list[tuple[str, str]]:
        return [
            (line["preferred_output"][0]["content"], line["non_preferred_output"][0]["content"])
            for line in exported(*turns, as_="dpo")[0]
        ]

    assert pairs(turn(1, rating=CORRECTED)) == [("corrected", "answer 1")]
    assert pairs(turn(1, rating=DOWN), again(2, 1, rating=UP)) == [("answer 2", "answer 1")]
    assert pairs(turn(1, rating=UP), again(2, 1, rating=DOWN)) == [("answer 1", "answer 2")]
    assert pairs(turn(1, rating=CORRECTED), again(2, 1, rating=UP)) == [
        ("corrected", "answer 1"), ("answer 2", "answer 1"),
    ]  # fmt: skip
    assert pairs(turn(1), again(2, 1, rating=UP)) == []
    assert pairs(turn(1, rating=DOWN), again(2, 1)) == []
    assert pairs(turn(1, rating=DOWN), again(2, 1, rating=UP, question="edited")) == []
    assert pairs(turn(1, rating=DOWN), again(2, 1, rating=UP, answer="answer 1")) == []
    assert pairs(turn(1, rating=DOWN), turn(2, rating=UP)) == []
    assert pairs(turn(1, rating=DOWN), again(2, 1, rating=UP, answer="half" + LENGTH)) == []
    assert pairs(turn(1, rating=DOWN, files=1), again(2, 1, rating=UP)) == []
    (line,) = exported(turn(1), turn(2, rating=CORRECTED), as_="dpo")[0]
    assert [message["content"] for message in line["input"]["messages"]] == [
        "question 1", "answer 1", "question 2",
    ]  # fmt: skip


def test_context_is_bounded_and_has_no_gap() -> None:
    turns = [turn(number) for number in range(1, 6)]
    assert len(said(exported(*turns, context=2)[0][-1])) == 6
    assert len(said(exported(*turns, context=0)[0][-1])) == 2
    turns[3] = turn(4, answer="x" * CONTEXT_CHARS)
    assert len(said(exported(*turns)[0][-1])) == 2


def test_a_reset_and_another_thread_are_not_in_the_context() -> None:
    reset = Reset(HERE, START + timedelta(minutes=1.5))
    lines, _ = exported(turn(1), turn(2), turn(3), resets=(reset,))
    assert said(lines[-1]) == ["question 2", "answer 2", "question 3", "answer 3"]
    elsewhere = Reset(CHANNEL, START + timedelta(minutes=1.5))
    assert len(said(exported(turn(1), turn(2), resets=(elsewhere,))[0][-1])) == 4
    other = HERE.model_copy(update={"thread": "other"})
    assert len(said(exported(turn(1), turn(2, place=other))[0][-1])) == 2
    alone = CHANNEL.model_copy(update={"alone": True})
    asked = [turn(number, user="slack:ada", place=alone) for number in (1, 2)]
    assert len(said(exported(*asked, attested=AGREED)[0][-1])) == 2


def test_filters_choose_the_answer_but_not_its_context() -> None:
    turns = [turn(1), turn(2, model="other", rating=UP), turn(3)]
    since = START + timedelta(minutes=2)
    assert [len(said(line)) for line in exported(*turns, since=since)[0]] == [4, 6]
    assert [len(said(line)) for line in exported(*turns, until=since)[0]] == [2]
    for filters in ({"models": ("other",)}, {"rating": "up"}):
        (line,) = exported(*turns, **filters)[0]
        assert said(line)[-1] == "answer 2"
    assert len(exported(*turns, rating="none")[0]) == 2
    assert exported(*turns, people=("terminal:bob",))[1].turns == 0
    for place, count in (("terminal", 3), ("terminal//terminal", 3), ("x//terminal", 0)):
        assert len(exported(*turns, places=(place,))[0]) == count
    assert exported(*turns, platforms=("slack",))[0] == []


def test_a_table_has_everything_that_has_words() -> None:
    failed = turn(1, outcome="failed", files=1)
    rows, summary = exported(failed, turn(2, rating=CORRECTED), turn(3, answer=None), as_="csv")
    assert [list(row) for row in rows] == [list(COLUMNS)] * 2
    assert (rows[0]["outcome"], rows[0]["files"]) == ("failed", 1)
    assert (rows[1]["thumb"], rows[1]["correction"]) == ("down", "corrected")
    assert summary.left_out == {LeftOut.WORDLESS: 1}


def _numbers(text: str) -> Iterator[Found]:
    for found in re.finditer(r"\d+", text):
        yield Found(found.start(), found.end(), "NUMBER")


NUMBERS: Final = Redaction(_numbers, ("NUMBER",), "digits 1")


@pytest.mark.parametrize("as_", ["chat", "dpo", "csv", "parquet"])
def test_every_text_of_every_format_is_redacted(as_: Format) -> None:
    """Corrections, reasons, personas and context are texts, too. Ids are not."""
    turns = [
        turn(1, persona="Persona 7", rating=UP),
        turn(2, persona="Persona 7", rating=Rating("down", "reason 8", "corrected 9")),
    ]
    summary = Summary()
    order = Order(as_, Filters(), Consent(), 8, NUMBERS)
    lines = list(rows_of(turns, [], order, summary))
    for line in lines:
        if as_ in SCHEMAS:
            jsonschema.validate(line, SCHEMAS[as_])
            texts = json.dumps({name: line[name] for name in line})
            texts = re.sub(r'"weight": \d', "", texts)
        else:
            names = ("question", "answer", "persona", "reason", "correction")
            texts = json.dumps([line[name] for name in names])
            assert re.search(r"\d", line["prompt_id"])
        assert not re.search(r"\d", texts), texts
        assert "<NUMBER>" in texts
    exported_turns = 1 if as_ == "dpo" else 2
    assert summary.replaced == {"NUMBER": {1: 5, 2: 8}[exported_turns]}


def test_the_manifest_says_what_was_redacted() -> None:
    summary = Summary()
    order = Order("chat", Filters(), Consent(), 8, NUMBERS)
    list(rows_of([turn(1), turn(2, training_allowed=False)], [], order, summary))

    def redaction_in(order: Order) -> Any:
        manifest = manifest_of("1", Path("out"), order, summary, sha256="", created_at=START)
        return json.loads(json.dumps(manifest))["redaction"]

    assert redaction_in(order) == {
        "by": "digits 1", "kinds": ["NUMBER"], "replaced": {"NUMBER": 2},
    }  # fmt: skip
    assert redaction_in(replace(order, redaction=None)) is None


def test_a_pair_that_differs_in_what_was_redacted_only_is_none() -> None:
    answers = [turn(1, rating=DOWN, answer="Call 12"), again(2, 1, rating=UP, answer="Call 34")]
    order = Order("dpo", Filters(), Consent(), 8)
    assert len(list(rows_of(answers, [], order, Summary()))) == 1
    assert list(rows_of(answers, [], replace(order, redaction=NUMBERS), Summary())) == []


def test_our_own_notes_are_recognized_after_a_redaction() -> None:
    """They are not redacted, and a finding that reaches into them ends before them."""
    everything = Redaction(lambda text: [Found(0, len(text), "ALL")], ("ALL",), "all 1")
    found = redacted(turn(1, answer="half" + LENGTH), everything)
    assert found.turn.answer == "<ALL>" + LENGTH
    assert found.replaced == {"ALL": 2}


def test_overlapping_findings_are_replaced_once() -> None:
    text = "mail ada@example.org now"
    found = [Found(9, 20, "URL"), Found(5, 16, "EMAIL"), Found(21, 24, "NOW")]
    assert replaced(text, without_overlaps(found)) == "mail <EMAIL> <NOW>"
    assert replaced(text, without_overlaps([])) == text


@given(st.data())
def test_no_history_makes_a_bad_line_or_a_wrong_context(data: st.DataObject) -> None:
    """Whatever people asked, where and in which order."""
    place = st.sampled_from([
        HERE, HERE.model_copy(update={"thread": "b"}),
        HERE.model_copy(update={"audience": "private"}),
        HERE.model_copy(update={"audience": "public"}),
        HERE.model_copy(update={"audience": "public", "alone": True}),
    ])  # fmt: skip
    words = st.none() | st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5
    )
    ratings = st.none() | st.builds(Rating, st.sampled_from(["up", "down"]), st.none(), words)
    turns = []
    for number in range(data.draw(st.integers(1, 8))):
        replaced_id = data.draw(st.none() | st.integers(0, 8))
        turns.append(
            turn(
                data.draw(st.integers(0, 9)), prompt_id=f"q{number}",
                replaces=None if replaced_id is None else f"q{replaced_id}",
                place=data.draw(place), question=data.draw(words), answer=data.draw(words),
                outcome=data.draw(st.sampled_from(["answered", "stopped", "failed"])),
                rating=data.draw(ratings), persona=data.draw(words),
            )
        )  # fmt: skip
    resets = tuple(
        Reset(data.draw(place), START + timedelta(minutes=data.draw(st.integers(0, 9))))
        for _ in range(data.draw(st.integers(0, 2)))
    )
    limit = data.draw(st.integers(0, 3))
    for number, line in enumerate(exported(*turns, context=limit, resets=resets)[0]):
        assert isinstance(example_of(number, json.dumps(line).encode()), Example)
    exported(*turns, as_="dpo", context=limit, resets=resets)
    history = History(turns, resets)
    for each in history.turns:
        context = history.context(each, limit)
        assert len(context) <= limit
        asked_at = history.versions(each)[0].said_at
        for earlier in context:
            assert earlier.said_at < each.said_at
            assert earlier not in history.versions(each)
            assert earlier.place is not None
            assert each.place is not None
            assert may_recall(earlier.place, each.place)
            for reset in resets:
                applies = may_recall(earlier.place, reset.place) or same_channel(
                    earlier.place, reset.place
                )
                assert not (applies and earlier.said_at <= reset.said_at <= asked_at)


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ('{"slack": {"C1": "They agreed"}, "discord": {"7": "Permitted"}}', ""),
        ("{", "not JSON"),
        ('{"slack": {"C1": " "}}', "is empty"),
        ('{"slack": {"": "They agreed"}}', "is empty"),
        ('{"terminal": {"terminal": "They agreed"}}', "need no attestation"),
        ('{"slack": ["C1"]}', "dictionary"),
        ("/does/not/exist", "neither JSON nor the path"),
    ],
)
def test_an_attestation_names_channel_and_reason(
    value: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THREADWAX_TRAINING_ATTESTED", value)
    if not wrong:
        assert Settings().training_attested["slack"] == {"C1": "They agreed"}
        return
    with pytest.raises(ValidationError, match=wrong):
        Settings()


@pytest.mark.parametrize(
    ("arguments", "choice"),
    [
        ("training off", "no"), ("  Training   ON ", "yes"), ("", None), ("off", None),
        ("training", None), ("training offline", None),
    ],
)  # fmt: skip
def test_only_two_arguments_of_privacy_decide_something(arguments: str, choice: str | None) -> None:
    assert choice_of(arguments) == choice
