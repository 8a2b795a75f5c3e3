"""The states of a pending question, and how they are stored."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter

from dataflow.pending import Ending, Pending, State
from dataflow.snapshot import StoredQuestion
from shared.messages import Ask, Edited, Place

PLACE = Place(platform="test", space="S", channel="D1", audience="direct")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ASK = Ask(id="q1", user="test:ada", place=PLACE, said_at=NOW, text="old")
EDIT = Edited(id="e2", user="test:ada", place=PLACE, said_at=NOW, prompt_id="q1", text="new")
STOPPED = Ending("stopped")


def begin(pending: Pending) -> None:
    pending.begin()


def end(pending: Pending) -> None:
    pending.end("stopped")


def edit(pending: Pending) -> None:
    pending.change_text(EDIT)


@pytest.mark.parametrize(
    ("state", "ending", "step", "expected"),
    [
        ("waiting", None, begin, "calling"),
        ("waiting", None, edit, "waiting"),
        ("waiting", None, end, "ended"),
        ("calling", None, edit, "waiting"),
        ("calling", None, end, "settling"),
        ("ended", STOPPED, begin, "settling"),
        ("ended", STOPPED, end, "ended"),
        ("settling", STOPPED, end, "settling"),
        ("settling", STOPPED, edit, "settling"),
    ],
)
def test_each_step_changes_the_state_as_documented(
    state: State, ending: Ending | None, step: Callable[[Pending], None], expected: State
) -> None:
    pending = Pending(ASK, check_journal=False, state=state, ending=ending)
    step(pending)
    assert pending.state == expected
    assert (pending.ending is not None) == (expected in {"ended", "settling"})


def test_after_an_edit_during_a_call_the_journal_is_checked() -> None:
    pending = Pending(ASK, check_journal=False, state="calling")
    pending.change_text(EDIT)
    assert (pending.ask.text, pending.check_journal, pending.edit) == ("new", True, EDIT)


def test_a_deleted_question_is_forgotten_and_not_edited() -> None:
    pending = Pending(ASK, check_journal=False, state="calling")
    pending.change_text(EDIT)
    pending.end("withdrawn")
    pending.change_text(EDIT)
    assert (pending.forgotten, pending.edit) == (True, None)


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ('"asked":true', "waiting"),
        ('"asked":true,"ends":"stopped"', "ended"),
        ('"ends":"refused","words":"No.","order":7,"forgotten":true,"at_once":true', "ended"),
        ('"asked":true,"replaces":"q0"', "waiting"),
    ],
)
def test_questions_stored_by_the_previous_version_return_to_their_queue(
    fields: str, state: str
) -> None:
    """It also stored whether a question was asked, but no version has used that."""
    stored = TypeAdapter(StoredQuestion)
    line = f'{{"ask":{ASK.model_dump_json()},"replayed":false,{fields}}}'
    pending = stored.validate_json(line).restored()
    assert pending.state == state
    assert pending.check_journal
    again = stored.validate_json(stored.dump_json(StoredQuestion.of(pending)))
    assert again.restored() == pending
    if '"words"' in fields:
        assert pending.ending == Ending("refused", "No.")
        assert (pending.order, pending.forgotten, pending.out_of_turn) == (7, True, True)
    if '"replaces"' in fields:
        assert pending.replaces == "q0"
