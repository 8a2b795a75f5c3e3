"""What a page shows: the order of turns, titles, and what comes from the recorder."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bots.web.history import turns_in
from bots.web.person import TURNS_LIMIT, Person
from bots.web.turns import (
    TITLE_CHARS,
    Finished,
    Growing,
    Turn,
    Unsent,
    conversations,
    finished_by,
    shown,
)
from shared.messages import Ask, Place
from shared.replies import Partial, Reply

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
PLACE = Place(platform="web", channel="web", thread="c1", audience="direct")


def turn(number: int, **fields: Any) -> Turn:
    said_at = NOW + timedelta(seconds=number)
    return replace(Turn(f"q{number}", "c1", f"question {number}", said_at, Growing()), **fields)


def by_id(*turns: Turn) -> dict[str, Turn]:
    return {one.id: one for one in turns}


def partial(text: str, attempt: int, sequence: int) -> Partial:
    return Partial(
        prompt_id="q1", user="web:ada", place=PLACE, text=text, attempt=attempt, sequence=sequence
    )


def test_a_turn_that_replaces_another_takes_its_position() -> None:
    turns = by_id(turn(1), turn(2), turn(3, replaces="q1"), turn(4, replaces="q3"))
    assert [one.id for one in shown(turns, "c1")] == ["q4", "q2"]
    assert shown(turns, "c2") == []


def test_turns_that_replace_each_other_do_not_hang() -> None:
    """Ids in the database come from outside."""
    turns = by_id(turn(1, replaces="q2"), turn(2, replaces="q1"), turn(3, replaces="q3"))
    assert shown(turns, "c1") == []


def test_a_conversation_is_called_by_its_first_question_or_its_title() -> None:
    turns = by_id(
        turn(1, question="What\n is it? " + "x" * 100), turn(2),
        turn(3, conversation="c2", question="", files=("a.png",)), turn(4, conversation="c3"),
    )  # fmt: skip
    listed = conversations(turns, {"c3": "Tea"})
    assert [(one.id, one.title) for one in listed[:2]] == [("c3", "Tea"), ("c2", "a.png")]
    assert listed[2].title.startswith("What is it? xxx")
    assert len(listed[2].title) <= TITLE_CHARS


def test_only_newer_partials_are_shown() -> None:
    answer = Growing().after(partial("b", 1, 2)).after(partial("a", 1, 1))
    assert answer.text == "b"
    assert answer.after(partial("again", 2, 0)).text == "again"


def test_a_reply_keeps_what_only_the_page_knows() -> None:
    before = turn(1, files=("a.png",), thumb="up", replaces="q0")
    reply = Reply(
        prompt_id="q1", user="web:ada", place=PLACE, outcome="answered", text="yes", model="m",
        prompt_text="question 1", said_at=NOW, answered_at=NOW,
    )  # fmt: skip
    assert finished_by(reply, before) == replace(before, answer=Finished("yes", "answered", "m"))
    alone = finished_by(reply, None)
    assert (alone.id, alone.conversation, alone.question) == ("q1", "c1", "question 1")


ENTRY = {
    "prompt_id": "q1", "thread": "c1", "question": "hi", "said_at": NOW.isoformat(),
    "outcome": "answered", "answer": "hello", "model": "m", "deleted": False,
    "attachments": ["a.png"], "thumb": "down", "replaces": None,
}  # fmt: skip


def test_turns_are_read_from_the_recorder() -> None:
    (read,) = turns_in([ENTRY], NOW)
    assert read == Turn(
        "q1", "c1", "hi", NOW, Finished("hello", "answered", "m"), ("a.png",), None, "down"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"deleted": True}, {"prompt_id": ""}, {"thread": None}, {"said_at": "yesterday"},
        {"said_at": None}, {"outcome": None, "said_at": (NOW - timedelta(days=2)).isoformat()},
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_left_out(wrong: dict[str, Any]) -> None:
    assert turns_in([ENTRY | wrong], NOW) == []


def test_a_question_without_an_answer_is_waited_for() -> None:
    (read,) = turns_in([ENTRY | {"outcome": None}], NOW)
    assert read.answer == Growing()


def test_what_this_process_has_seen_is_newer_than_the_database() -> None:
    person = Person()
    person.put(turn(1, answer=Finished("new", "answered")))
    person.load([turn(1), turn(2)], {"c1": "Tea"}, {})
    view = person.view()
    assert view.turns["q1"].answer == Finished("new", "answered")
    assert set(view.turns) == {"q1", "q2"}
    assert view.titles == {"c1": "Tea"}


def test_text_that_grows_settles_nothing() -> None:
    """A page is drawn anew only when something else changes."""
    person = Person()
    person.put(turn(1))
    settled = person.view().settled
    person.put(turn(1, answer=Growing("some")))
    assert person.view().settled == settled
    asked = Ask(id="q1", user="web:ada", place=PLACE, said_at=NOW, text="x")
    person.put(turn(1, answer=Unsent("no", asked)))
    assert person.view().settled > settled


def test_the_oldest_turns_make_room() -> None:
    person = Person()
    for number in range(TURNS_LIMIT + 5):
        person.put(turn(number))
    assert len(person.view().turns) == TURNS_LIMIT
    assert "q4" not in person.view().turns


def test_an_answer_that_came_first_learns_which_turn_it_replaces() -> None:
    person = Person()
    person.load([turn(1)], {}, {})
    person.put(turn(2, answer=Finished("newer", "answered")))
    person.outdate()
    assert len(shown(person.view().turns, "c1")) == 2
    person.load([turn(1), replace(turn(2), replaces=turn(1).id, files=("a.txt",))], {}, {})
    (left,) = shown(person.view().turns, "c1")
    assert left.answer == Finished("newer", "answered")
    assert left.files == ("a.txt",)


def test_pages_notice_a_question_that_is_sent_again() -> None:
    person = Person()
    asked = Ask(id="q1", user="web:ada", place=PLACE, said_at=NOW, text="hello")
    person.put(turn(1, answer=Unsent("Not sent: NATS is away.", asked)))
    before = person.view().settled
    person.put(turn(1))
    assert person.view().settled != before
