"""The rules of a conversation, including a state machine that tries to break them."""

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dataflow.asked_again import NOT_KEPT
from dataflow.audience import may_recall, same_thread
from dataflow.conversation import NOT_REMEMBERED, TOO_LONG, TOO_MANY, Conversation
from dataflow.data_tags import BACKGROUND_HEAD, QUOTES_HEAD
from dataflow.effects import CallModel, Cancel, Effect, Erase, Settle
from dataflow.question_queue import IN_PROGRESS_LIMIT, PENDING_LIMIT, QUEUED
from dataflow.snapshot import quiet_user
from dataflow.tokens import Window, estimated_tokens
from shared.messages import (
    Again,
    Ask,
    Attachment,
    Deleted,
    Edited,
    Forget,
    Journaled,
    Outcome,
    Place,
    Reply,
    Reset,
    Stop,
    Usage,
)

USER = "test:ada"
START = datetime(2026, 1, 1, tzinfo=UTC)
WINDOW = Window(context_tokens=4000, answer_tokens=1000, system_prompt="Be kind.")

DM = Place(platform="test", space="S", channel="D1", audience="direct")
ROOM = Place(platform="test", space="S", channel="C1", audience="public")
ROOM_THREAD = ROOM.model_copy(update={"thread": "t1"})
CLOSED = ROOM.model_copy(update={"audience": "private"})
"""The same channel before it was opened."""

LONELY = ROOM.model_copy(update={"alone": True})
"""The same channel while newcomers cannot read its history."""

OTHER_ROOM = Place(platform="test", space="S", channel="C2", audience="public")
PRIVATE = Place(platform="test", space="S", channel="P1", audience="private")
ELSEWHERE = Place(platform="test", space="S2", channel="C9", audience="public")
PLACES = (DM, ROOM, ROOM_THREAD, CLOSED, LONELY, OTHER_ROOM, PRIVATE, ELSEWHERE)


def ask(number: int, text: str = "", place: Place = DM, at: int | None = None) -> Ask:
    said_at = START + timedelta(seconds=number if at is None else at)
    return Ask(id=f"q{number}", user=USER, place=place, said_at=said_at, text=text or f"q {number}")


def reply(
    effect: CallModel | Settle, text: str = "", outcome: Outcome = "answered", usage: int = 0
) -> Journaled:
    stored = Reply(
        prompt_id=effect.ask.id,
        user=USER,
        place=effect.ask.place,
        outcome=outcome,
        text=text or f"a to {effect.ask.text}",
        prompt_text=effect.ask.text,
        usage=Usage(prompt_tokens=usage) if usage else None,
        said_at=effect.ask.said_at,
        answered_at=START,
        after=effect.after,
    )
    return Journaled(stored)


def withdrawn(prompt_id: str) -> Journaled:
    """A reply without words, as an erasure and a withdrawn question have it."""
    return Journaled(
        Reply(
            prompt_id=prompt_id, user=USER, place=DM, outcome="withdrawn", text="",
            said_at=START, answered_at=START,
        )
    )  # fmt: skip


def event(kind: type, number: int, place: Place = DM, **fields: object) -> object:
    return kind(
        id=f"e{number}", user=USER, place=place, said_at=START + timedelta(seconds=number), **fields
    )


def calls(effects: list[Effect]) -> list[CallModel]:
    return [effect for effect in effects if isinstance(effect, CallModel)]


def contents(call: CallModel) -> list[str]:
    return [message["content"] for message in call.request.messages]


def test_a_thread_is_answered_one_question_at_a_time_and_remembered() -> None:
    """The second question waits, and its request contains the first turn in full."""
    talk = Conversation(WINDOW)
    (first,) = talk.on_event(ask(1, "My name is Ada."), replayed=False)
    assert talk.on_event(ask(2, "What is my name?"), replayed=False) == []
    (second,) = talk.on_reply(reply(first, "Hello Ada."))
    assert contents(second) == ["Be kind.", "My name is Ada.", "Hello Ada.", "What is my name?"]


def test_threads_are_answered_side_by_side_up_to_the_limit() -> None:
    """Three threads are in progress at once; the fourth starts when one of them is done."""
    talk = Conversation(WINDOW)
    places = [ROOM.model_copy(update={"thread": f"t{n}"}) for n in range(4)]
    started = [talk.on_event(ask(n, place=place), replayed=False) for n, place in enumerate(places)]
    assert [len(effects) for effects in started] == [1, 1, 1, 0]
    (fourth,) = talk.on_reply(reply(started[1][0]))
    assert fourth.ask.place == places[3]


def test_each_question_that_waits_is_named_once_with_its_reason() -> None:
    """A question that is stopped, deleted or asked no longer waits."""
    talk = Conversation(WINDOW)
    (first,) = talk.on_event(ask(1), replayed=False)
    assert list(talk.announce_waits()) == []
    for number in (2, 3, 4):
        talk.on_event(ask(number), replayed=False)
    assert [(wait.ask.id, wait.reason) for wait in talk.announce_waits()] == [
        ("q2", "thread"), ("q3", "thread"), ("q4", "thread"),
    ]  # fmt: skip
    (cancel,) = talk.on_event(event(Deleted, 5, prompt_id="q3"), replayed=False)
    assert cancel == Cancel("q3", "withdrawn")
    assert [effect.ask.id for effect in calls(talk.on_reply(reply(first)))] == ["q2"]
    assert list(talk.announce_waits()) == []
    again = Conversation.load(talk.dump(), WINDOW)
    again.resume()
    assert [wait.ask.id for wait in again.announce_waits()] == ["q4"]


def test_a_question_waits_for_room_once_its_thread_is_free() -> None:
    """Three others are in progress, one of them in the same thread."""
    talk = Conversation(WINDOW)
    places = [ROOM.model_copy(update={"thread": f"t{n}"}) for n in (0, 1, 2, 3, 2)]
    for number, place in enumerate(places):
        effects = talk.on_event(ask(number, place=place), replayed=False)
        if number == 2:
            third = effects[0]
    assert [(wait.ask.id, wait.reason) for wait in talk.announce_waits()] == [
        ("q3", "limit"), ("q4", "thread"),
    ]  # fmt: skip
    assert isinstance(third, CallModel)
    assert all(wait.after is None for wait in talk.announce_waits())
    talk.on_reply(reply(third))
    (wait,) = talk.announce_waits()
    assert (wait.ask.id, wait.reason, wait.after) == ("q4", "limit", "q2")


def test_a_flood_of_questions_is_no_flood_of_notes() -> None:
    """Only some waits are announced; another one is when one of these is over."""
    talk = Conversation(WINDOW)
    (first,) = talk.on_event(ask(1), replayed=False)
    for number in range(2, 20):
        talk.on_event(ask(number), replayed=False)
    assert [wait.ask.id for wait in talk.announce_waits()] == [f"q{n}" for n in range(2, 7)]
    talk.on_reply(reply(first))
    assert [wait.ask.id for wait in talk.announce_waits()] == ["q7"]


def test_what_waits_is_ordered_by_when_it_was_said() -> None:
    """A question that a platform delivered late comes before newer ones that still wait."""
    talk = Conversation(WINDOW)
    (first,) = talk.on_event(ask(0), replayed=False)
    for number in (3, 1, 2):
        talk.on_event(ask(number), replayed=False)
    order = []
    effects: list[Effect] = [first]
    while effects:
        order.append(effects[0].ask.id)
        effects = talk.on_reply(reply(effects[0]))
    assert order == ["q0", "q1", "q2", "q3"]


def test_the_same_question_twice_is_asked_once() -> None:
    """Nothing happens before its answer; after it, and after a restart, the journal is checked."""
    talk = Conversation(WINDOW)
    (first,) = talk.on_event(ask(1), replayed=False)
    assert talk.on_event(ask(1), replayed=False) == []
    talk.on_reply(answered := reply(first))
    for restarted in (talk, Conversation.load(talk.dump(), WINDOW)):
        (again,) = calls(restarted.on_event(ask(1), replayed=False))
        assert again.check_journal
        assert restarted.on_event(ask(1), replayed=False) == []
        assert restarted.on_reply(answered) == []
        assert len(restarted.turns) == 1


def test_a_reply_that_was_found_again_says_nothing_about_tokens() -> None:
    """Its usage belongs to another request than the one that was estimated."""
    talk = Conversation(WINDOW)
    (first,) = talk.on_event(ask(1), replayed=False)
    talk.on_reply(answered := reply(first, usage=20))
    before = talk.dump()
    talk.on_event(ask(1), replayed=False)
    talk.on_reply(answered)
    assert json.loads(talk.dump())["ratio"] == json.loads(before)["ratio"]


def test_a_question_whose_reply_is_lost_is_answered_but_not_remembered_again() -> None:
    """It may have been deleted since, and no later reply names it."""
    talk = Conversation(WINDOW)
    (first,) = talk.on_event(ask(1), replayed=False)
    talk.on_reply(reply(first))
    (second,) = talk.on_event(ask(2), replayed=False)
    talk.on_reply(reply(second))
    talk.on_event(event(Reset, 3), replayed=False)
    (again,) = calls(talk.on_event(ask(1), replayed=False))
    assert again.after is None
    talk.on_reply(reply(again, "the journal did not have it"))
    assert talk.turns == ()
    (third,) = talk.on_event(ask(4), replayed=False)
    assert isinstance(third, CallModel)
    assert third.after == "q2"


@pytest.mark.parametrize(
    ("said_in", "here", "allowed"),
    [
        (ROOM, ROOM, True),
        (ROOM_THREAD, ROOM, True),
        (ROOM, OTHER_ROOM, False),
        (ROOM, PRIVATE, False),
        (ROOM_THREAD, CLOSED, True),
        (CLOSED, ROOM_THREAD, False),
        (CLOSED, ROOM, True),
        (LONELY, LONELY, False),
        (LONELY, ROOM, False),
        (ROOM, LONELY, False),
        (LONELY, DM, True),
        (ROOM, DM, True),
        (PRIVATE, DM, True),
        (PRIVATE, PRIVATE, True),
        (PRIVATE, ROOM, False),
        (DM, ROOM, False),
        (DM, PRIVATE, False),
        (ELSEWHERE, ROOM, False),
        (ELSEWHERE, DM, True),
    ],
)
def test_nobody_hears_what_was_not_said_to_them(said_in: Place, here: Place, allowed: bool) -> None:
    """Messages are used only in the same channel, or in a direct message with their author."""
    assert may_recall(said_in, here) is allowed
    talk = Conversation(WINDOW)
    (first,) = talk.on_event(ask(1, "SECRET", said_in), replayed=False)
    talk.on_reply(reply(first, "NOTED"))
    (second,) = calls(talk.on_event(ask(2, "And?", here), replayed=False))
    assert ("SECRET" in str(second.request.messages)) is allowed


def test_what_was_said_elsewhere_is_marked_as_background() -> None:
    """It is part of the question that it was sent with, and never of the system message."""
    talk = Conversation(WINDOW)
    (first,) = talk.on_event(ask(1, "I like tea.", ROOM), replayed=False)
    talk.on_reply(reply(first, "Good."))
    (second,) = calls(talk.on_event(ask(2, "What do I like?", ROOM_THREAD), replayed=False))
    told = f"{BACKGROUND_HEAD}\nThey: I like tea.\nYou: Good."
    question = f"<background>\n{told}\n</background>\n\nWhat do I like?"
    assert contents(second) == ["Be kind.", question]


def test_stop_ends_what_runs_and_what_waits_in_this_thread() -> None:
    """The call is cancelled, the waiting question is settled, and other threads go on."""
    talk = Conversation(WINDOW)
    (running,) = talk.on_event(ask(1), replayed=False)
    talk.on_event(ask(2), replayed=False)
    (other,) = talk.on_event(ask(3, place=ROOM), replayed=False)
    effects = talk.on_event(event(Stop, 4), replayed=False)
    assert effects == [Cancel("q1", "stopped")]
    assert other.ask.id == "q3"
    settled = talk.on_reply(reply(running, "half an ans", "stopped"))
    assert settled == [Settle(ask(2), "stopped", "", after="q1")]
    assert [turn.answer for turn in talk.turns] == ["half an ans"]


def test_a_stop_that_names_a_question_leaves_the_others() -> None:
    """The Stop button below an answer does this."""
    talk = Conversation(WINDOW)
    talk.on_event(ask(1), replayed=False)
    talk.on_event(ask(2), replayed=False)
    assert talk.on_event(event(Stop, 3, prompt_id="q1"), replayed=False) == [
        Cancel("q1", "stopped")
    ]


def test_a_user_is_erased_once_nothing_is_pending() -> None:
    """Withdrawn questions keep no words; a restart begins the erasure again, until its reply."""
    talk = Conversation(WINDOW, USER)
    talk.on_event(ask(1, "HUSH"), replayed=False)
    talk.on_event(ask(2, "HUSH"), replayed=False)
    forget = event(Forget, 3)
    (cancel,) = talk.on_event(forget, replayed=False)
    assert cancel == Cancel("q1", "withdrawn")
    assert b"HUSH" not in talk.dump()
    (settle,) = talk.on_reply(withdrawn("q1"))
    assert isinstance(settle, Settle)
    assert (settle.ask.id, settle.outcome, settle.text) == ("q2", "withdrawn", "")
    assert talk.on_reply(withdrawn("q2")) == [Erase(forget)]
    assert quiet_user(talk.dump()) is None
    talk = Conversation.load(talk.dump(), WINDOW)
    assert talk.has_work
    assert talk.resume() == [Erase(forget)]
    (call,) = calls(talk.on_event(ask(4), replayed=False))
    talk.on_reply(reply(call))
    assert talk.on_reply(withdrawn(forget.id)) == []
    assert not talk.has_work
    assert len(talk.turns) == 1


def test_a_question_from_before_it_is_not_answered_again() -> None:
    talk = Conversation(WINDOW, USER)
    (call,) = talk.on_event(ask(1, "HUSH"), replayed=False)
    talk.on_reply(reply(call))
    forget = event(Forget, 2)
    assert talk.on_event(forget, replayed=False) == [Erase(forget)]
    talk.on_reply(withdrawn(forget.id))
    (settle,) = talk.on_event(ask(1, "HUSH"), replayed=False)
    assert isinstance(settle, Settle)
    assert (settle.outcome, "HUSH" in str(settle)) == ("withdrawn", False)
    assert b"HUSH" not in talk.dump()


def test_reset_forgets_what_could_be_recalled_here() -> None:
    """A reset in a channel keeps private messages; answers in progress leave no turn."""
    talk = Conversation(WINDOW)
    for number, place in ((1, DM), (2, ROOM)):
        (call,) = talk.on_event(ask(number, place=place), replayed=False)
        talk.on_reply(reply(call))
    (under_way,) = talk.on_event(ask(3, place=ROOM), replayed=False)
    assert talk.on_event(event(Reset, 4, ROOM), replayed=False) == []
    talk.on_reply(reply(under_way))
    assert [turn.place for turn in talk.turns] == [DM]
    talk.on_event(event(Forget, 5, ROOM), replayed=False)
    assert talk.turns == ()


def test_an_edit_replaces_a_question_that_waits_or_runs() -> None:
    """The call in progress is repeated with the new text under the same id."""
    talk = Conversation(WINDOW)
    talk.on_event(ask(1, "old"), replayed=False)
    talk.on_event(ask(2, "older"), replayed=False)
    assert talk.on_event(event(Edited, 3, prompt_id="q2", text="newer"), replayed=False) == []
    (anew,) = calls(talk.on_event(event(Edited, 4, prompt_id="q1", text="new"), replayed=False))
    assert (anew.ask.id, anew.ask.text) == ("q1", "new")
    (second,) = talk.on_reply(reply(anew))
    assert second.ask.text == "newer"


def test_an_edit_of_an_answered_question_asks_anew_only_when_told() -> None:
    """The new answer replaces the old one in memory."""
    talk = Conversation(WINDOW)
    (first,) = talk.on_event(ask(1, "old"), replayed=False)
    talk.on_reply(reply(first))
    assert talk.on_event(event(Edited, 2, prompt_id="q1", text="new"), replayed=False) == []
    told = event(Edited, 3, prompt_id="q1", text="new", ask_again=True)
    (anew,) = calls(talk.on_event(told, replayed=False))
    assert contents(anew) == ["Be kind.", "new"]
    talk.on_reply(reply(anew, "better"))
    assert [(turn.question, turn.answer) for turn in talk.turns] == [("new", "better")]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("outcome", ["answered", "failed", "stopped"])
def test_an_edit_of_an_answer_that_a_person_saw_before_the_flow_heard_of_it(
    outcome: Outcome, *, restart: bool
) -> None:
    """The journal has the final answer to the old text: the new text is asked separately."""
    talk = Conversation(WINDOW)
    (first,) = calls(talk.on_event(ask(1, "old"), replayed=False))
    told = event(Edited, 2, prompt_id="q1", text="new", ask_again=True)
    (in_vain,) = calls(talk.on_event(told, replayed=False))
    assert in_vain.check_journal, "the journal is asked first"
    if restart:
        talk = Conversation.load(talk.dump(), WINDOW)
        talk.resume()
    (anew,) = calls(talk.on_reply(reply(first, outcome=outcome)))
    assert (anew.ask.id, anew.ask.text, anew.check_journal) == ("e2", "new", True)
    talk.on_reply(reply(anew, "better"))
    assert [(turn.question, turn.answer) for turn in talk.turns] == [("new", "better")]
    assert talk.on_event(told, replayed=True) == []


def test_an_edit_that_only_replaces_is_not_asked_after_the_answer() -> None:
    """The same edit would not be asked if it came after the answer."""
    talk = Conversation(WINDOW)
    (first,) = calls(talk.on_event(ask(1, "old"), replayed=False))
    talk.on_event(event(Edited, 2, prompt_id="q1", text="new"), replayed=False)
    assert talk.on_reply(reply(first)) == []
    assert [turn.question for turn in talk.turns] == ["old"]


def test_an_edit_that_was_answered_is_not_answered_again_when_it_is_read_again() -> None:
    """After a crash, the reply may be found in the journal before the edit is read."""
    talk = Conversation(WINDOW)
    talk.on_event(ask(1, "old"), replayed=False)
    before_the_edit = talk.dump()
    told = event(Edited, 2, prompt_id="q1", text="new", ask_again=True)
    (answered,) = calls(talk.on_event(told, replayed=False))
    talk = Conversation.load(before_the_edit, WINDOW)
    talk.resume()
    talk.on_reply(reply(answered))
    assert talk.on_event(told, replayed=True) == []
    assert [(turn.question, turn.answer) for turn in talk.turns] == [("new", "a to new")]


def test_an_edit_of_what_is_just_being_stopped_is_asked_after_that() -> None:
    """The text so far remains the answer to the stopped question."""
    talk = Conversation(WINDOW)
    (first,) = calls(talk.on_event(ask(1, "old"), replayed=False))
    talk.on_event(event(Stop, 2), replayed=False)
    told = event(Edited, 3, prompt_id="q1", text="new", ask_again=True)
    assert talk.on_event(told, replayed=False) == []
    (anew,) = calls(talk.on_reply(reply(first, "so far", "stopped")))
    assert (anew.ask.id, anew.ask.text) == ("e3", "new")


def test_a_stop_after_an_edit_ends_that_too() -> None:
    """Even if the answer to the old text was in the journal already."""
    talk = Conversation(WINDOW)
    (first,) = calls(talk.on_event(ask(1, "old"), replayed=False))
    told = event(Edited, 2, prompt_id="q1", text="new", ask_again=True)
    talk.on_event(told, replayed=False)
    talk.on_event(event(Stop, 3), replayed=False)
    assert talk.on_reply(reply(first)) == []


def test_an_edit_of_what_is_withdrawn_is_not_asked() -> None:
    talk = Conversation(WINDOW)
    (first,) = calls(talk.on_event(ask(1, "old"), replayed=False))
    talk.on_event(event(Deleted, 2, prompt_id="q1"), replayed=False)
    talk.on_event(event(Edited, 3, prompt_id="q1", text="new", ask_again=True), replayed=False)
    assert talk.on_reply(reply(first, outcome="withdrawn")) == []


def test_turns_of_one_thread_hold_one_place_between_them() -> None:
    """Each event has its own copy of the place, which takes more memory than a short text."""
    conversation = Conversation(WINDOW)
    for number, place in enumerate((ROOM, ROOM, OTHER_ROOM, OTHER_ROOM)):
        own = place.model_copy()
        (effect,) = calls(conversation.on_event(ask(number, place=own), replayed=False))
        conversation.on_reply(reply(effect))
    for kept in (conversation, Conversation.load(conversation.dump(), WINDOW)):
        places = [turn.place for turn in kept.turns]
        assert places == [ROOM, ROOM, OTHER_ROOM, OTHER_ROOM]
        assert len({id(place) for place in places}) == 2


def test_again_answers_from_the_same_place_in_the_conversation() -> None:
    """The request contains only turns before that question; its turn is replaced."""
    talk = Conversation(WINDOW)
    for number in (1, 2, 3):
        (call,) = talk.on_event(ask(number), replayed=False)
        talk.on_reply(reply(call))
    (anew,) = calls(talk.on_event(event(Again, 4, prompt_id="q2"), replayed=False))
    assert anew.ask.id == "e4"
    assert contents(anew) == ["Be kind.", "q 1", "a to q 1", "q 2"]
    talk.on_reply(reply(anew, "another"))
    assert [turn.answer for turn in talk.turns] == ["a to q 1", "another", "a to q 3"]


@pytest.mark.parametrize("in_flight", [True, False])
def test_again_twice_leaves_the_last_answer_where_the_first_was(*, in_flight: bool) -> None:
    """Whether the second one comes before or after the answer to the first, as after a crash."""
    talk = Conversation(WINDOW)
    for number in (1, 2):
        (call,) = talk.on_event(ask(number), replayed=False)
        talk.on_reply(reply(call))
    (once,) = calls(talk.on_event(event(Again, 3, prompt_id="q1"), replayed=False))
    if in_flight:
        assert not calls(talk.on_event(event(Again, 4, prompt_id="q1"), replayed=False))
        (twice,) = calls(talk.on_reply(reply(once, "another")))
    else:
        talk.on_reply(reply(once, "another"))
        (twice,) = calls(talk.on_event(event(Again, 4, prompt_id="q1"), replayed=False))
    talk.on_reply(reply(twice, "a third"))
    assert [turn.answer for turn in talk.turns] == ["a third", "a to q 2"]
    talk.on_event(event(Deleted, 5, prompt_id="q1"), replayed=False)
    assert [turn.answer for turn in talk.turns] == ["a to q 2"]


def test_deleting_a_question_withdraws_the_newer_answer_that_is_on_its_way() -> None:
    talk = Conversation(WINDOW)
    (first,) = calls(talk.on_event(ask(1), replayed=False))
    talk.on_reply(reply(first))
    (again,) = calls(talk.on_event(event(Again, 2, prompt_id="q1"), replayed=False))
    (cancel,) = talk.on_event(event(Deleted, 3, prompt_id="q1"), replayed=False)
    assert cancel == Cancel("e2", "withdrawn")
    talk.on_reply(reply(again))  # the journal had taken the answer already
    assert talk.turns == (), "words of a deleted question"


@pytest.mark.parametrize("outcome", ["answered", "failed"])
def test_again_waits_for_an_answer_that_a_person_saw_before_the_flow_heard_of_it(
    outcome: Outcome,
) -> None:
    talk = Conversation(WINDOW)
    (first,) = calls(talk.on_event(ask(1), replayed=False))
    assert not talk.on_event(event(Again, 2, prompt_id="q1"), replayed=False)
    (again,) = calls(talk.on_reply(reply(first, outcome=outcome)))
    assert (again.ask.id, again.ask.text) == ("e2", "q 1")
    assert "a to q 1" not in str(again.request.messages), "it is asked from the same place"
    talk.on_reply(reply(again, text="better"))
    assert [(turn.question, turn.answer) for turn in talk.turns] == [("q 1", "better")]


def test_again_for_a_question_nobody_remembers_is_refused_in_words() -> None:
    talk = Conversation(WINDOW)
    (refusal,) = talk.on_event(event(Again, 1, prompt_id="q9"), replayed=False)
    assert isinstance(refusal, Settle)
    assert (refusal.outcome, refusal.text) == ("refused", NOT_REMEMBERED)


def test_a_deleted_question_is_withdrawn_and_its_turn_forgotten() -> None:
    """Whether it is answered, in progress or waiting: its text is in no later request."""
    talk = Conversation(WINDOW)
    (first,) = talk.on_event(ask(1, "ONE"), replayed=False)
    talk.on_reply(reply(first))
    (second,) = talk.on_event(ask(2, "TWO"), replayed=False)
    assert talk.on_event(event(Deleted, 3, prompt_id="q1"), replayed=False) == []
    assert talk.on_event(event(Deleted, 4, prompt_id="q2"), replayed=False) == [
        Cancel("q2", "withdrawn")
    ]
    talk.on_reply(reply(second, "too late"))
    assert talk.turns == ()


def test_a_failed_answer_leaves_no_turn_and_can_be_asked_again() -> None:
    """Requests do not contain it, but Again and an edit find the question."""
    talk = Conversation(WINDOW)
    (first,) = calls(talk.on_event(ask(1), replayed=False))
    talk.on_reply(reply(first, "Sorry.", "failed"))
    assert talk.turns == ()
    (second,) = calls(talk.on_event(ask(2), replayed=False))
    assert contents(second) == ["Be kind.", "q 2"]
    talk.on_reply(reply(second))
    (again,) = calls(talk.on_event(event(Again, 3, prompt_id="q1"), replayed=False))
    assert contents(again) == ["Be kind.", "q 1"]
    talk.on_reply(reply(again, "Better."))
    assert [turn.answer for turn in talk.turns] == ["Better.", "a to q 2"]


PICTURE = Attachment(name="cat.png", media_type="image/png", blob="blob-1")


def test_questions_without_a_shared_past_are_still_answered_in_order() -> None:
    """The second request contains nothing of the first question; its reply names the first one."""
    talk = Conversation(WINDOW)
    (first,) = calls(talk.on_event(ask(1, "SECRET", LONELY), replayed=False))
    assert talk.on_event(ask(2, "And?", LONELY), replayed=False) == []
    (second,) = calls(talk.on_reply(reply(first)))
    assert second.after == "q1"
    assert contents(second) == ["Be kind.", "And?"]


def test_a_picture_without_words_can_be_asked_again() -> None:
    """It keeps the picture, the persona and the model of its place."""
    talk = Conversation(WINDOW)
    asked = Ask(
        id="q1", user=USER, place=DM, said_at=START, text="", attachments=(PICTURE,),
        persona="You are a pirate.", model="large",
    )  # fmt: skip
    (first,) = calls(talk.on_event(asked, replayed=False))
    talk.on_reply(reply(first, "A cat."))
    (again,) = calls(talk.on_event(event(Again, 2, prompt_id="q1"), replayed=False))
    assert again.ask.attachments == (PICTURE,)
    assert (again.ask.persona, again.ask.model) == ("You are a pirate.", "large")
    talk.on_reply(reply(again, "A dog."))
    (next_one,) = calls(talk.on_event(ask(3, "What was it?"), replayed=False))
    assert contents(next_one) == ["Be kind.", "[picture: cat.png]", "A dog.", "What was it?"]


def test_a_text_file_is_kept_for_asking_again_unless_it_is_long() -> None:
    """Later requests contain only the names of both, which together are large."""
    talk = Conversation(WINDOW)
    files = [
        Attachment(name=name, media_type="text/plain", text=text)
        for name, text in (("short.txt", "SHORT"), ("long.txt", "LONG " * 1000))
    ]
    asked = Ask(id="q1", user=USER, place=DM, said_at=START, text="Look.", attachments=files)
    (first,) = calls(talk.on_event(asked, replayed=False))
    talk.on_reply(reply(first, "Seen."))
    (after,) = calls(talk.on_event(ask(2), replayed=False))
    assert contents(after)[1] == "Look.\n[file: short.txt]\n[file: long.txt]"
    talk.on_reply(reply(after))
    (again,) = calls(talk.on_event(event(Again, 2, prompt_id="q1"), replayed=False))
    assert "SHORT" in contents(again)[-1]
    assert "LONG" not in contents(again)[-1]
    assert NOT_KEPT in contents(again)[-1]
    talk.on_reply(reply(again, "Seen."))
    (next_one,) = calls(talk.on_event(ask(3), replayed=False))
    assert contents(next_one)[1] == contents(again)[-1]


def test_an_edit_of_a_question_nobody_remembers_asks_its_own_words() -> None:
    talk = Conversation(WINDOW)
    told = event(Edited, 1, prompt_id="q9", text="What is a subject?", ask_again=True)
    (anew,) = calls(talk.on_event(told, replayed=False))
    assert (anew.ask.id, anew.ask.text) == ("e1", "What is a subject?")


# --- order ----------------------------------------------------------------------------------------


def test_a_reply_names_the_one_before_it_in_its_thread() -> None:
    """This holds for each thread separately, and across a restart."""
    talk = Conversation(WINDOW)
    (first,) = talk.on_event(ask(1), replayed=False)
    talk.on_event(ask(2), replayed=False)
    (other,) = talk.on_event(ask(3, place=ROOM), replayed=False)
    assert (first.after, other.after) == (None, None)
    (second,) = talk.on_reply(reply(first))
    assert second.after == "q1"
    talk.on_reply(reply(second, outcome="failed"))
    talk.on_reply(reply(other))
    talk = Conversation.load(talk.dump(), WINDOW)
    (third,) = talk.on_event(ask(4), replayed=False)
    assert third.after == "q2"


def test_nothing_is_settled_before_the_reply_in_front_of_it_is_journaled() -> None:
    """A refusal, a stop or a withdrawal must not overtake an answer in progress."""
    talk = Conversation(WINDOW)
    (first,) = talk.on_event(ask(1), replayed=False)
    assert talk.on_event(event(Again, 2, prompt_id="q9"), replayed=False) == []
    talk.on_event(ask(3), replayed=False)
    assert talk.on_event(event(Deleted, 4, prompt_id="q3"), replayed=False) == []
    (refused,) = talk.on_reply(reply(first))
    assert (refused.ask.id, refused.after) == ("e2", "q1")
    (withdrawn,) = talk.on_reply(reply(refused, NOT_REMEMBERED, "refused"))
    assert (withdrawn.ask.id, withdrawn.after) == ("q3", "e2")


def test_a_question_that_waits_for_room_is_not_passed_in_its_thread() -> None:
    """The first one waits because of the limit, so the second one must not be settled."""
    talk = Conversation(WINDOW)
    threads = [ROOM.model_copy(update={"thread": f"t{n}"}) for n in range(IN_PROGRESS_LIMIT + 1)]
    running = [talk.on_event(ask(n, place=p), replayed=False) for n, p in enumerate(threads)]
    assert running[-1] == []
    last = event(Again, 9, threads[-1], prompt_id="q99")
    assert talk.on_event(last, replayed=False) == []


def test_a_refusal_of_one_question_too_many_is_in_nobodys_way() -> None:
    """The refusal comes at once, and no later reply waits for it."""
    talk = Conversation(WINDOW)
    started = [talk.on_event(ask(n), replayed=False) for n in range(PENDING_LIMIT)]
    (refusal,) = talk.on_event(ask(PENDING_LIMIT), replayed=False)
    assert refusal.after is None
    talk.on_reply(reply(refusal, TOO_MANY, "refused"))
    (second,) = talk.on_reply(reply(started[0][0]))
    assert second.after == "q0"


def test_a_flood_is_refused_in_words() -> None:
    """The state stays bounded, whatever one user sends."""
    talk = Conversation(WINDOW)
    for number in range(PENDING_LIMIT):
        talk.on_event(ask(number), replayed=False)
    (refusal,) = talk.on_event(ask(PENDING_LIMIT), replayed=False)
    assert isinstance(refusal, Settle)
    assert (refusal.outcome, refusal.text) == ("refused", TOO_MANY)


def test_a_question_longer_than_the_window_is_refused_in_words() -> None:
    talk = Conversation(WINDOW)
    (refusal,) = talk.on_event(ask(1, "word " * 20_000), replayed=False)
    assert isinstance(refusal, Settle)
    assert (refusal.outcome, refusal.text) == ("refused", TOO_LONG)


def test_the_window_keeps_the_newest_turns() -> None:
    """The oldest turns are left out first, and the question is always kept."""
    talk = Conversation(WINDOW)
    for number in range(20):
        (call,) = talk.on_event(ask(number, f"{number} " + "word " * 200), replayed=False)
        talk.on_reply(reply(call, "ok"))
    (last,) = calls(talk.on_event(ask(99, "now"), replayed=False))
    kept = [content.split()[0] for content in contents(last)[1:-1:2]]
    assert kept == [str(number) for number in range(20 - len(kept), 20)]
    assert 0 < len(kept) < 20


def test_reported_usage_corrects_the_estimate() -> None:
    """A model that counts three times the estimate gets shorter requests, which fit."""
    sizes = {}
    for factor in (1, 3):
        talk = Conversation(WINDOW)
        for number in range(30):
            (call,) = talk.on_event(ask(number, "word " * 100), replayed=False)
            sizes[factor] = call.request.estimated_tokens
            talk.on_reply(reply(call, "ok", usage=call.request.estimated_tokens * factor))
    assert sizes[1] > 2 * sizes[3]
    assert sizes[3] * 3 <= WINDOW.context_tokens - WINDOW.answer_tokens


def test_after_a_restart_what_was_pending_is_asked_again_as_replayed() -> None:
    talk = Conversation(WINDOW)
    talk.on_event(ask(1), replayed=False)
    talk.on_event(ask(2), replayed=False)
    (again,) = Conversation.load(talk.dump(), WINDOW).resume()
    assert (again.ask.id, again.check_journal) == ("q1", True)


def test_after_a_restart_what_was_ended_without_the_model_is_not_asked() -> None:
    """The process ended before the journal had the stopped, withdrawn or refused question."""
    talk = Conversation(WINDOW)
    talk.on_event(ask(1), replayed=False)
    talk.on_event(ask(2), replayed=False)
    talk.on_event(event(Stop, 3), replayed=False)
    talk.on_event(ask(4), replayed=False)
    talk.on_event(event(Deleted, 5, prompt_id="q4"), replayed=False)
    talk.on_event(event(Again, 6, prompt_id="q9"), replayed=False)
    talk = Conversation.load(talk.dump(), WINDOW)
    effects = talk.resume()
    seen = []
    while effects:
        (effect,) = effects
        assert isinstance(effect, Settle)
        seen.append((effect.ask.id, effect.outcome, effect.text, effect.after))
        effects = talk.on_reply(reply(effect, effect.text, effect.outcome))
    assert seen == [
        ("q1", "stopped", "", None),
        ("q2", "stopped", "", "q1"),
        ("q4", "withdrawn", "", "q2"),
        ("e6", "refused", NOT_REMEMBERED, "q4"),
    ]


def test_a_refusal_that_another_version_worded_leaves_no_turn() -> None:
    """The stored text of the refusal is not compared with that of this version."""
    talk = Conversation(WINDOW)
    talk.on_event(ask(1), replayed=False)
    talk.on_event(event(Again, 2, prompt_id="q9"), replayed=False)
    other = talk.dump().replace(NOT_REMEMBERED.encode(), b"I do not know that question.")
    assert other != talk.dump()
    talk = Conversation.load(other, WINDOW)
    (first,) = talk.resume()
    (refusal,) = talk.on_reply(reply(first))
    assert refusal.text == "I do not know that question."
    talk.on_reply(reply(refusal, refusal.text, "refused"))
    assert b"(again)" not in talk.dump()


SNAPSHOTS = Path(__file__).parent / "snapshots"
GOLDEN_SNAPSHOT = SNAPSHOTS / "conversation.v1.json"


def test_a_question_that_comes_late_is_answered_before_a_younger_one_of_its_thread() -> None:
    """Even if a question of another thread between the two is in progress."""
    talk = Conversation(WINDOW)
    (first,) = talk.on_event(ask(5, at=5), replayed=False)
    assert talk.on_event(ask(9, at=9), replayed=False) == []
    (other,) = talk.on_event(ask(8, place=ROOM, at=8), replayed=False)
    assert other.ask.id == "q8"
    assert talk.on_event(ask(7, at=7), replayed=False) == []
    (next_one,) = calls(talk.on_reply(reply(first)))
    assert next_one.ask.id == "q7"


def test_a_thread_stays_one_when_its_channel_is_shared() -> None:
    """Its space changes with its readers, but order and Stop follow the thread on the screen."""
    talk = Conversation(WINDOW)
    shared = ROOM_THREAD.model_copy(update={"space": "S-shared"})
    (first,) = talk.on_event(ask(1, place=ROOM_THREAD), replayed=False)
    assert talk.on_event(ask(2, place=shared), replayed=False) == []
    (second,) = calls(talk.on_reply(reply(first, "[told before]")))
    assert second.after == "q1"
    assert "[told before]" not in str(second.request.messages)
    (stopped,) = talk.on_event(event(Stop, 3, place=ROOM_THREAD), replayed=False)
    assert stopped == Cancel("q2", "stopped")


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("outcome", ["refused", "failed"])
def test_an_edit_of_a_question_without_an_answer_asks_it(
    outcome: Outcome, *, restarted: bool
) -> None:
    """People shorten a message when asked to, so this does not depend on the setting for edits."""
    talk = Conversation(WINDOW)
    (first,) = talk.on_event(ask(1, "x" * 50_000 if outcome == "refused" else ""), replayed=False)
    assert isinstance(first, Settle) == (outcome == "refused")
    talk.on_reply(reply(first, "a notice", outcome))
    if restarted:
        talk = Conversation.load(talk.dump(), WINDOW)
    edit = event(Edited, 2, prompt_id="q1", text="shorter", ask_again=False)
    (again,) = calls(talk.on_event(edit, replayed=False))
    assert again.ask.text == "shorter"
    talk.on_reply(reply(again))
    assert talk.on_event(event(Edited, 3, prompt_id="q1", text="typo"), replayed=False) == []


@pytest.mark.parametrize("place", [LONELY, CLOSED])
def test_a_reset_forgets_what_was_said_in_that_channel(place: Place) -> None:
    """Including messages that could not be used there: a direct message would still use them."""
    talk = Conversation(WINDOW)
    (first,) = talk.on_event(ask(1, "[secret]", place=place), replayed=False)
    talk.on_reply(reply(first))
    talk.on_event(event(Reset, 2, place=ROOM), replayed=False)
    (here,) = calls(talk.on_event(ask(3), replayed=False))
    assert "[secret]" not in str(here.request.messages)


def test_a_snapshot_of_an_older_version_can_be_read() -> None:
    """A recovery store outlives an upgrade: pending and remembered questions are still there."""
    talk = Conversation.load(GOLDEN_SNAPSHOT.read_bytes(), WINDOW)
    assert [(turn.question, turn.answer) for turn in talk.turns] == [("My name is Ada.", "Hello.")]
    assert [pending.ask.text for pending in talk.pending] == ["What is my name?"]
    effects = talk.on_event(ask(1), replayed=True)
    assert [call.ask.id for call in calls(effects)] == ["q1", "q2"]


def test_a_snapshot_keeps_what_questions_came_with() -> None:
    """Version 2 stores background, quotes, files and thread start, without default values."""
    window = Window(2048, 200, "Be kind.")
    talk = Conversation.load((SNAPSHOTS / "conversation.v2.json").read_bytes(), window)
    (call,) = calls(list(talk.resume()))
    _, before, _, asked, answer, last = contents(call)
    told = f"<background>\n{BACKGROUND_HEAD}\nThey: I like tea.\nYou: Good.\n</background>\n\n"
    quoted = f"{QUOTES_HEAD}\n<quoted>\n[Bob] Disk full.\n</quoted>\n\n"
    file = "File notes.txt:\n<file>\nbuy milk\n</file>\n\n"
    names = "\n[file: scan.pdf (It is not text.)]\n[picture: cat.png]"
    assert before.startswith("14 word")
    assert (asked, answer) == (f"{told}{quoted}{file}q 16{names}", "Aye.")
    assert "[Bob] Still full." in last
    assert fields(Conversation.load(talk.dump(), window)) == fields(talk)


def fields(talk: Conversation) -> list[dict[str, object]]:
    """The remembered turns, in a form that is compared by value."""
    return list(map(asdict, talk.turns))


def test_a_snapshot_of_plain_questions_holds_little_but_their_words() -> None:
    """Fifty questions take 200 bytes each for ids, place and order."""
    talk = Conversation(WINDOW, USER)
    for number in range(50):
        (call,) = calls(talk.on_event(ask(number, "word " * 10), replayed=False))
        talk.on_reply(reply(call, "word " * 10))
    assert len(talk.dump()) < 50 * (100 + 200) + 1_000


def test_a_snapshot_tells_in_its_first_bytes_whose_it_is_when_nothing_is_pending() -> None:
    talk = Conversation(WINDOW, "test.ada")
    (call,) = calls(talk.on_event(ask(1, '{"user":"test.eve","pending":[],'), replayed=False))
    waiting = talk.dump()
    talk.on_reply(reply(call))
    assert quiet_user(waiting) is None
    assert quiet_user(talk.dump()) == "test.ada"
    assert quiet_user(GOLDEN_SNAPSHOT.read_bytes()) is None


class Talk(RuleBasedStateMachine):
    """Random people: whatever they do, each question is settled once and nothing leaks."""

    def __init__(self) -> None:
        super().__init__()
        self.talk = Conversation(WINDOW)
        self.count = 0
        self.running: dict[str, CallModel | Settle] = {}
        self.asked: dict[str, Ask] = {}
        # The places of each question's words: to ask it again in its thread says them there again.
        self.said: dict[str, list[Place]] = {}
        self.settled: list[str] = []
        self.journal: dict[str, Journaled] = {}
        self.places: dict[str, Place] = {}

    def follow(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Cancel):
                continue
            assert effect.ask.id not in self.settled, "asked after it was settled"
            if effect.after is not None:
                assert effect.after in self.settled, "waits for what is not in the journal"
                assert same_thread(self.places[effect.after], effect.ask.place)
            self.places[effect.ask.id] = effect.ask.place
            self.running[effect.ask.id] = effect
            if isinstance(effect, CallModel):
                self.check(effect)

    def check(self, call: CallModel) -> None:
        text = str(call.request.messages)
        for other in self.asked.values():
            said_again = f"[{other.id}]" in call.ask.text
            if f"[{other.id}]" in text and not said_again:
                said_in = self.said[other.id]
                assert any(may_recall(at, call.ask.place) for at in said_in), "words leaked"
        total = sum(estimated_tokens(m["content"]) for m in call.request.messages[:-1])
        assert total <= WINDOW.context_tokens, "over the window"

    @rule(place=st.sampled_from(PLACES), words=st.integers(1, 400), late=st.integers(0, 3))
    def says(self, place: Place, words: int, late: int) -> None:
        self.count += 1
        question = ask(
            self.count, f"[q{self.count}] " + "word " * words, place, at=self.count - late
        )
        self.asked[question.id] = question
        self.said[question.id] = [place]
        self.follow(self.talk.on_event(question, replayed=False))

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def says_the_same_again(self, data: st.DataObject) -> None:
        question = self.asked[data.draw(st.sampled_from(sorted(self.asked)))]
        before = self.talk.turns
        effects = self.talk.on_event(question, replayed=False)
        if question.id not in self.journal:
            assert all(effect.ask.id != question.id for effect in effects)
            return
        (again,) = calls(effects)
        assert again.check_journal
        assert again.ask == question
        assert again.after is None
        self.follow(self.talk.on_reply(self.journal[question.id]))
        assert self.talk.turns == before

    @precondition(lambda self: self.running)
    @rule(data=st.data(), outcome=st.sampled_from(["answered", "failed", "stopped", "withdrawn"]))
    def is_answered(self, data: st.DataObject, outcome: Outcome) -> None:
        effect = self.running.pop(data.draw(st.sampled_from(sorted(self.running))))
        self.settled.append(effect.ask.id)
        self.journal[effect.ask.id] = reply(effect, f"a [{effect.ask.id}]", outcome)
        self.follow(self.talk.on_reply(self.journal[effect.ask.id]))

    @precondition(lambda self: self.asked)
    @rule(
        data=st.data(),
        place=st.sampled_from(PLACES),
        kind=st.sampled_from([Stop, Reset, Again, Edited, Deleted]),
    )
    def changes_their_mind(self, data: st.DataObject, place: Place, kind: type) -> None:
        self.count += 1
        target = data.draw(st.sampled_from(sorted(self.asked)))
        fields: dict[str, object] = {} if kind in {Stop, Reset} else {"prompt_id": target}
        if kind is Edited:
            fields |= {"text": f"[{target}] edited", "ask_again": data.draw(st.booleans())}
        where = self.asked[target].place if kind is Edited else place
        happened = event(kind, self.count, where, **fields)
        effects = self.talk.on_event(happened, replayed=False)
        anew = next((p.ask for p in self.talk.pending if p.ask.id == happened.id), None)
        if anew is not None:
            self.asked[anew.id] = anew
            self.said[anew.id] = [anew.place]
            for first in self.said:
                if f"[{first}]" in anew.text:
                    self.said[first].append(anew.place)
        self.follow(effects)

    @rule()
    def crashes(self) -> None:
        """A restart from the snapshot asks pending questions again, and changes nothing else."""
        restarted = Conversation.load(self.talk.dump(), WINDOW)
        assert fields(restarted) == fields(self.talk)
        assert [p.ask for p in restarted.pending] == [p.ask for p in self.talk.pending]
        self.talk = restarted
        self.running.clear()
        self.follow(self.talk.resume())

    @invariant()
    def holds(self) -> None:
        for pending in self.talk.pending:
            assert (pending.ending is not None) == (pending.state in {"ended", "settling"})
        asked = [p for p in self.talk.pending if p.state not in QUEUED]
        # An edit can put back a question whose older call has not come back yet.
        assert {p.ask.id for p in asked} <= set(self.running)
        assert set(self.running) <= {p.ask.id for p in self.talk.pending}
        calling = [p for p in asked if isinstance(self.running[p.ask.id], CallModel)]
        assert len(calling) <= IN_PROGRESS_LIMIT
        for number, one in enumerate(calling):
            for other in calling[number + 1 :]:
                assert not same_thread(one.ask.place, other.ask.place)
        if not asked:
            assert not self.talk.pending, "a question waits for nothing"
        orders = [turn.order for turn in self.talk.turns]
        assert orders == sorted(orders)

    def teardown(self) -> None:
        """In the end every question is answered."""
        while self.running:
            _, effect = self.running.popitem()
            self.settled.append(effect.ask.id)
            self.follow(self.talk.on_reply(reply(effect)))
        assert self.talk.pending == ()
        assert len(self.settled) == len(set(self.settled))


TestTalk = Talk.TestCase
TestTalk.settings = settings(max_examples=60, stateful_step_count=40)
