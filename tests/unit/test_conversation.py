"""The rules of a conversation, and a state machine that tries to break them."""

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dataflow.admission import TOO_LONG
from dataflow.asked_again import NOT_KEPT
from dataflow.asking_again import NOT_REMEMBERED
from dataflow.audience import may_recall, same_thread
from dataflow.conversation import TOO_MANY, Conversation
from dataflow.data_tags import BACKGROUND_HEAD, QUOTES_HEAD
from dataflow.effects import CallModel, Cancel, Effect, Erase, Settle
from dataflow.pending import QUEUED
from dataflow.question_queue import IN_PROGRESS_LIMIT, PENDING_LIMIT
from dataflow.tokens import Window, estimated_tokens
from shared.messages import Again, Ask, Attachment, Deleted, Edited, Forget, Place, Reset, Stop
from shared.replies import Journaled, Outcome, Reply, Usage

USER = "test:ada"
START = datetime(2026, 1, 1, tzinfo=UTC)
WINDOW = Window(context_tokens=4000, answer_tokens=1000, system_prompt="Be kind.")

DM = Place(platform="test", space="S", channel="D1", audience="direct")
ROOM = Place(platform="test", space="S", channel="C1", audience="public")
ROOM_THREAD = ROOM.model_copy(update={"thread": "t1"})
CLOSED = ROOM.model_copy(update={"audience": "private"})
"""The same channel before it became public."""

NO_HISTORY = ROOM.model_copy(update={"alone": True})
"""The same channel while newcomers cannot read its history."""

OTHER_ROOM = Place(platform="test", space="S", channel="C2", audience="public")
PRIVATE = Place(platform="test", space="S", channel="P1", audience="private")
ELSEWHERE = Place(platform="test", space="S2", channel="C9", audience="public")
PLACES = (DM, ROOM, ROOM_THREAD, CLOSED, NO_HISTORY, OTHER_ROOM, PRIVATE, ELSEWHERE)


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


def test_threads_are_answered_in_parallel_up_to_the_limit() -> None:
    """Three threads are in progress at once; the fourth starts when one of them is done."""
    talk = Conversation(WINDOW)
    places = [ROOM.model_copy(update={"thread": f"t{n}"}) for n in range(4)]
    started = [talk.on_event(ask(n, place=place), replayed=False) for n, place in enumerate(places)]
    assert [len(effects) for effects in started] == [1, 1, 1, 0]
    (fourth,) = talk.on_reply(reply(started[1][0]))
    assert fourth.ask.place == places[3]


def test_each_waiting_question_is_announced_once_with_its_reason() -> None:
    """A question that is stopped, deleted or being asked no longer waits."""
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


def test_a_question_waits_because_of_the_limit_when_its_thread_is_free() -> None:
    """Three questions are in progress, one of them in the same thread."""
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


def test_a_flood_of_questions_does_not_cause_a_flood_of_notices() -> None:
    """Only some waits are announced. When one of them ends, another one is announced."""
    talk = Conversation(WINDOW)
    (first,) = talk.on_event(ask(1), replayed=False)
    for number in range(2, 20):
        talk.on_event(ask(number), replayed=False)
    assert [wait.ask.id for wait in talk.announce_waits()] == [f"q{n}" for n in range(2, 7)]
    talk.on_reply(reply(first))
    assert [wait.ask.id for wait in talk.announce_waits()] == ["q7"]


def test_waiting_questions_are_ordered_by_when_they_were_said() -> None:
    """A question that was delivered late is asked before newer ones that still wait."""
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
    """Before its answer, a repeated question is ignored; afterwards, the journal is checked."""
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


def test_a_reply_that_was_found_again_does_not_change_the_token_estimate() -> None:
    """The reported usage belongs to an earlier request than the estimated one."""
    talk = Conversation(WINDOW)
    (first,) = talk.on_event(ask(1), replayed=False)
    talk.on_reply(answered := reply(first, usage=20))
    before = talk.dump()
    talk.on_event(ask(1), replayed=False)
    talk.on_reply(answered)
    assert json.loads(talk.dump())["ratio"] == json.loads(before)["ratio"]


def test_a_repeated_question_whose_reply_is_lost_is_answered_but_not_remembered() -> None:
    """The question may have been deleted since, and no later reply follows it."""
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
        (NO_HISTORY, NO_HISTORY, False),
        (NO_HISTORY, ROOM, False),
        (ROOM, NO_HISTORY, False),
        (NO_HISTORY, DM, True),
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
def test_messages_are_recalled_only_for_readers_who_could_see_them(
    said_in: Place, here: Place, allowed: bool
) -> None:
    """Messages are used only in their channel and in direct messages with their author."""
    assert may_recall(said_in, here) is allowed
    talk = Conversation(WINDOW)
    (first,) = talk.on_event(ask(1, "SECRET", said_in), replayed=False)
    talk.on_reply(reply(first, "NOTED"))
    (second,) = calls(talk.on_event(ask(2, "And?", here), replayed=False))
    assert ("SECRET" in str(second.request.messages)) is allowed


def test_messages_from_elsewhere_are_marked_as_background() -> None:
    """It is part of its question, never of the system message."""
    talk = Conversation(WINDOW)
    (first,) = talk.on_event(ask(1, "I like tea.", ROOM), replayed=False)
    talk.on_reply(reply(first, "Good."))
    (second,) = calls(talk.on_event(ask(2, "What do I like?", ROOM_THREAD), replayed=False))
    background = f"{BACKGROUND_HEAD}\nThey: I like tea.\nYou: Good."
    question = f"<background>\n{background}\n</background>\n\nWhat do I like?"
    assert contents(second) == ["Be kind.", question]


def test_stop_ends_running_and_waiting_questions_of_its_thread() -> None:
    """The call is cancelled, the waiting question is settled, and other threads continue."""
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
    """This is what the Stop button below an answer does."""
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


def test_reset_forgets_everything_that_could_be_recalled_in_its_place() -> None:
    """A reset in a channel keeps private turns. Answers in progress are not remembered."""
    talk = Conversation(WINDOW)
    for number, place in ((1, DM), (2, ROOM)):
        (call,) = talk.on_event(ask(number, place=place), replayed=False)
        talk.on_reply(reply(call))
    (in_progress,) = talk.on_event(ask(3, place=ROOM), replayed=False)
    assert talk.on_event(event(Reset, 4, ROOM), replayed=False) == []
    talk.on_reply(reply(in_progress))
    assert [turn.place for turn in talk.turns] == [DM]
    talk.on_event(event(Forget, 5, ROOM), replayed=False)
    assert talk.turns == ()


def test_an_edit_replaces_a_waiting_or_running_question() -> None:
    """A call in progress starts over with the new text and the same id."""
    talk = Conversation(WINDOW)
    talk.on_event(ask(1, "old"), replayed=False)
    talk.on_event(ask(2, "older"), replayed=False)
    assert talk.on_event(event(Edited, 3, prompt_id="q2", text="newer"), replayed=False) == []
    (new_call,) = calls(talk.on_event(event(Edited, 4, prompt_id="q1", text="new"), replayed=False))
    assert (new_call.ask.id, new_call.ask.text) == ("q1", "new")
    (second,) = talk.on_reply(reply(new_call))
    assert second.ask.text == "newer"


def test_an_edit_of_an_answered_question_asks_again_only_if_it_says_so() -> None:
    """The new answer replaces the remembered one."""
    talk = Conversation(WINDOW)
    (first,) = talk.on_event(ask(1, "old"), replayed=False)
    talk.on_reply(reply(first))
    assert talk.on_event(event(Edited, 2, prompt_id="q1", text="new"), replayed=False) == []
    edit = event(Edited, 3, prompt_id="q1", text="new", ask_again=True)
    (new_call,) = calls(talk.on_event(edit, replayed=False))
    assert contents(new_call) == ["Be kind.", "new"]
    talk.on_reply(reply(new_call, "better"))
    assert [(turn.question, turn.answer) for turn in talk.turns] == [("new", "better")]


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("outcome", ["answered", "failed", "stopped"])
def test_an_edit_sent_before_the_flow_knows_the_answer_is_asked_separately(
    outcome: Outcome, *, restart: bool
) -> None:
    """The journal has a final answer to the old text, so the new text gets an id of its own."""
    talk = Conversation(WINDOW)
    (first,) = calls(talk.on_event(ask(1, "old"), replayed=False))
    edit = event(Edited, 2, prompt_id="q1", text="new", ask_again=True)
    (first_try,) = calls(talk.on_event(edit, replayed=False))
    assert first_try.check_journal, "the journal is asked first"
    if restart:
        talk = Conversation.load(talk.dump(), WINDOW)
        talk.resume()
    (new_call,) = calls(talk.on_reply(reply(first, outcome=outcome)))
    assert (new_call.ask.id, new_call.ask.text, new_call.check_journal) == ("e2", "new", True)
    talk.on_reply(reply(new_call, "better"))
    assert [(turn.question, turn.answer) for turn in talk.turns] == [("new", "better")]
    assert talk.on_event(edit, replayed=True) == []


def test_an_edit_that_does_not_ask_again_is_not_asked_after_the_answer() -> None:
    """If it had come after the answer, it would not have been asked either."""
    talk = Conversation(WINDOW)
    (first,) = calls(talk.on_event(ask(1, "old"), replayed=False))
    talk.on_event(event(Edited, 2, prompt_id="q1", text="new"), replayed=False)
    assert talk.on_reply(reply(first)) == []
    assert [turn.question for turn in talk.turns] == ["old"]


def test_an_edit_that_was_answered_is_not_answered_again_when_it_is_read_again() -> None:
    """After a crash, the journal may return the reply before the edit is read."""
    talk = Conversation(WINDOW)
    talk.on_event(ask(1, "old"), replayed=False)
    before_the_edit = talk.dump()
    edit = event(Edited, 2, prompt_id="q1", text="new", ask_again=True)
    (answered,) = calls(talk.on_event(edit, replayed=False))
    talk = Conversation.load(before_the_edit, WINDOW)
    talk.resume()
    talk.on_reply(reply(answered))
    assert talk.on_event(edit, replayed=True) == []
    assert [(turn.question, turn.answer) for turn in talk.turns] == [("new", "a to new")]


def test_an_edit_of_a_question_that_is_being_stopped_is_asked_afterwards() -> None:
    """The partial text stays the answer to the stopped question."""
    talk = Conversation(WINDOW)
    (first,) = calls(talk.on_event(ask(1, "old"), replayed=False))
    talk.on_event(event(Stop, 2), replayed=False)
    edit = event(Edited, 3, prompt_id="q1", text="new", ask_again=True)
    assert talk.on_event(edit, replayed=False) == []
    (new_call,) = calls(talk.on_reply(reply(first, "so far", "stopped")))
    assert (new_call.ask.id, new_call.ask.text) == ("e3", "new")


def test_a_stop_after_an_edit_also_stops_the_edited_question() -> None:
    """This holds even if the journal already had the answer to the old text."""
    talk = Conversation(WINDOW)
    (first,) = calls(talk.on_event(ask(1, "old"), replayed=False))
    edit = event(Edited, 2, prompt_id="q1", text="new", ask_again=True)
    talk.on_event(edit, replayed=False)
    talk.on_event(event(Stop, 3), replayed=False)
    assert talk.on_reply(reply(first)) == []


def test_an_edit_of_a_deleted_question_in_progress_is_not_asked() -> None:
    talk = Conversation(WINDOW)
    (first,) = calls(talk.on_event(ask(1, "old"), replayed=False))
    talk.on_event(event(Deleted, 2, prompt_id="q1"), replayed=False)
    talk.on_event(event(Edited, 3, prompt_id="q1", text="new", ask_again=True), replayed=False)
    assert talk.on_reply(reply(first, outcome="withdrawn")) == []


def test_turns_of_a_thread_share_one_place_object() -> None:
    """Each event brings its own copy of the place, which is larger than a short text."""
    conversation = Conversation(WINDOW)
    for number, place in enumerate((ROOM, ROOM, OTHER_ROOM, OTHER_ROOM)):
        own = place.model_copy()
        (effect,) = calls(conversation.on_event(ask(number, place=own), replayed=False))
        conversation.on_reply(reply(effect))
    for kept in (conversation, Conversation.load(conversation.dump(), WINDOW)):
        places = [turn.place for turn in kept.turns]
        assert places == [ROOM, ROOM, OTHER_ROOM, OTHER_ROOM]
        assert len({id(place) for place in places}) == 2


def test_again_answers_from_the_same_point_in_the_conversation() -> None:
    """The request contains only earlier turns, and the new answer replaces the old turn."""
    talk = Conversation(WINDOW)
    for number in (1, 2, 3):
        (call,) = talk.on_event(ask(number), replayed=False)
        talk.on_reply(reply(call))
    (new_call,) = calls(talk.on_event(event(Again, 4, prompt_id="q2"), replayed=False))
    assert new_call.ask.id == "e4"
    assert contents(new_call) == ["Be kind.", "q 1", "a to q 1", "q 2"]
    talk.on_reply(reply(new_call, "another"))
    assert [turn.answer for turn in talk.turns] == ["a to q 1", "another", "a to q 3"]


@pytest.mark.parametrize("in_flight", [True, False])
def test_after_again_twice_the_last_answer_has_the_position_of_the_first(
    *, in_flight: bool
) -> None:
    """The second Again can come before or after the answer to the first one."""
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


def test_again_for_a_waiting_question_keeps_its_position_in_the_thread() -> None:
    """After a rebuild from the stream, questions wait although people saw their answers."""
    talk = Conversation(WINDOW)
    (first,) = calls(talk.on_event(ask(1), replayed=True))
    for number in (2, 3):
        assert not talk.on_event(ask(number), replayed=True)
    assert not talk.on_event(event(Again, 4, prompt_id="q3"), replayed=True)
    (second,) = calls(talk.on_reply(reply(first, "one")))
    (third,) = calls(talk.on_reply(reply(second, "two")))
    assert contents(third)[1:] == ["q 1", "one", "q 2", "two", "q 3"]


def test_deleting_a_question_withdraws_its_newer_answer_in_progress() -> None:
    talk = Conversation(WINDOW)
    (first,) = calls(talk.on_event(ask(1), replayed=False))
    talk.on_reply(reply(first))
    (again,) = calls(talk.on_event(event(Again, 2, prompt_id="q1"), replayed=False))
    (cancel,) = talk.on_event(event(Deleted, 3, prompt_id="q1"), replayed=False)
    assert cancel == Cancel("e2", "withdrawn")
    talk.on_reply(reply(again))  # the journal had the answer already
    assert talk.turns == (), "the text of a deleted question"


@pytest.mark.parametrize("outcome", ["answered", "failed"])
def test_again_waits_until_the_flow_knows_the_answer_that_the_person_saw(
    outcome: Outcome,
) -> None:
    talk = Conversation(WINDOW)
    (first,) = calls(talk.on_event(ask(1), replayed=False))
    assert not talk.on_event(event(Again, 2, prompt_id="q1"), replayed=False)
    (again,) = calls(talk.on_reply(reply(first, outcome=outcome)))
    assert (again.ask.id, again.ask.text) == ("e2", "q 1")
    assert "a to q 1" not in str(again.request.messages), "it is asked with the same earlier turns"
    talk.on_reply(reply(again, text="better"))
    assert [(turn.question, turn.answer) for turn in talk.turns] == [("q 1", "better")]


def test_again_for_an_unknown_question_is_refused_with_a_notice() -> None:
    talk = Conversation(WINDOW)
    (refusal,) = talk.on_event(event(Again, 1, prompt_id="q9"), replayed=False)
    assert isinstance(refusal, Settle)
    assert (refusal.outcome, refusal.text) == ("refused", NOT_REMEMBERED)


def test_a_deleted_question_is_withdrawn_and_its_turn_forgotten() -> None:
    """The question can be answered or in progress; no later request contains its text."""
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
    """Later requests do not contain the question, but Again finds it."""
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


def test_questions_without_shared_history_are_still_answered_in_order() -> None:
    """The second request contains nothing of the first, but its reply follows the first one's."""
    talk = Conversation(WINDOW)
    (first,) = calls(talk.on_event(ask(1, "SECRET", NO_HISTORY), replayed=False))
    assert talk.on_event(ask(2, "And?", NO_HISTORY), replayed=False) == []
    (second,) = calls(talk.on_reply(reply(first)))
    assert second.after == "q1"
    assert contents(second) == ["Be kind.", "And?"]


def test_a_picture_without_text_can_be_asked_again() -> None:
    """It keeps its picture, persona and model."""
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
    """Other requests contain only the names of both files, which are large together."""
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


def test_an_edit_of_an_unknown_question_asks_the_new_text() -> None:
    talk = Conversation(WINDOW)
    edit = event(Edited, 1, prompt_id="q9", text="What is a subject?", ask_again=True)
    (new_call,) = calls(talk.on_event(edit, replayed=False))
    assert (new_call.ask.id, new_call.ask.text) == ("e1", "What is a subject?")


# --- order ----------------------------------------------------------------------------------------


def test_a_reply_names_the_one_before_it_in_its_thread() -> None:
    """This is separate for each thread, and holds across a restart."""
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


def test_nothing_is_settled_before_the_previous_reply_is_journaled() -> None:
    """Refusals, stops and withdrawals must not overtake an answer in progress."""
    talk = Conversation(WINDOW)
    (first,) = talk.on_event(ask(1), replayed=False)
    assert talk.on_event(event(Again, 2, prompt_id="q9"), replayed=False) == []
    talk.on_event(ask(3), replayed=False)
    assert talk.on_event(event(Deleted, 4, prompt_id="q3"), replayed=False) == []
    (refused,) = talk.on_reply(reply(first))
    assert (refused.ask.id, refused.after) == ("e2", "q1")
    (withdrawn,) = talk.on_reply(reply(refused, NOT_REMEMBERED, "refused"))
    assert (withdrawn.ask.id, withdrawn.after) == ("q3", "e2")


def test_a_question_waiting_because_of_the_limit_is_not_overtaken_in_its_thread() -> None:
    """The first question waits because of the limit, so the second must not be settled yet."""
    talk = Conversation(WINDOW)
    threads = [ROOM.model_copy(update={"thread": f"t{n}"}) for n in range(IN_PROGRESS_LIMIT + 1)]
    running = [talk.on_event(ask(n, place=p), replayed=False) for n, p in enumerate(threads)]
    assert running[-1] == []
    last = event(Again, 9, threads[-1], prompt_id="q99")
    assert talk.on_event(last, replayed=False) == []


def test_the_refusal_of_one_question_too_many_delays_nothing() -> None:
    """It comes at once, and no later reply waits for it."""
    talk = Conversation(WINDOW)
    started = [talk.on_event(ask(n), replayed=False) for n in range(PENDING_LIMIT)]
    (refusal,) = talk.on_event(ask(PENDING_LIMIT), replayed=False)
    assert refusal.after is None
    talk.on_reply(reply(refusal, TOO_MANY, "refused"))
    (second,) = talk.on_reply(reply(started[0][0]))
    assert second.after == "q0"


def test_a_question_for_a_full_queue_is_refused_with_a_notice() -> None:
    """So the state stays bounded, whatever a user sends."""
    talk = Conversation(WINDOW)
    for number in range(PENDING_LIMIT):
        talk.on_event(ask(number), replayed=False)
    (refusal,) = talk.on_event(ask(PENDING_LIMIT), replayed=False)
    assert isinstance(refusal, Settle)
    assert (refusal.outcome, refusal.text) == ("refused", TOO_MANY)


def test_a_question_longer_than_the_window_is_refused_with_a_notice() -> None:
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
    """If a model counts three times the estimate, its requests are shorter and still fit."""
    sizes = {}
    for factor in (1, 3):
        talk = Conversation(WINDOW)
        for number in range(30):
            (call,) = talk.on_event(ask(number, "word " * 100), replayed=False)
            sizes[factor] = call.request.estimated_tokens
            talk.on_reply(reply(call, "ok", usage=call.request.estimated_tokens * factor))
    assert sizes[1] > 2 * sizes[3]
    assert sizes[3] * 3 <= WINDOW.context_tokens - WINDOW.answer_tokens


def test_after_a_restart_pending_questions_are_asked_after_checking_the_journal() -> None:
    talk = Conversation(WINDOW)
    talk.on_event(ask(1), replayed=False)
    talk.on_event(ask(2), replayed=False)
    (again,) = Conversation.load(talk.dump(), WINDOW).resume()
    assert (again.ask.id, again.check_journal) == ("q1", True)


def test_after_a_restart_questions_ended_without_the_model_are_not_asked() -> None:
    """The process died before the stopped, withdrawn or refused question was in the journal."""
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


def test_a_refusal_worded_by_another_version_leaves_no_turn() -> None:
    """A stored refusal is not recognized by its text."""
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


def test_a_late_question_is_answered_before_a_newer_one_of_its_thread() -> None:
    """This holds even if a question of another thread, sent between the two, is in progress."""
    talk = Conversation(WINDOW)
    (first,) = talk.on_event(ask(5, at=5), replayed=False)
    assert talk.on_event(ask(9, at=9), replayed=False) == []
    (other,) = talk.on_event(ask(8, place=ROOM, at=8), replayed=False)
    assert other.ask.id == "q8"
    assert talk.on_event(ask(7, at=7), replayed=False) == []
    (next_one,) = calls(talk.on_reply(reply(first)))
    assert next_one.ask.id == "q7"


def test_a_thread_keeps_its_order_when_its_channel_is_shared() -> None:
    """Its space changes with its readers, but order and Stop apply to the visible thread."""
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
    """People shorten a message when asked to, so the setting for edits does not matter."""
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


@pytest.mark.parametrize("place", [NO_HISTORY, CLOSED])
def test_a_reset_forgets_all_messages_in_that_channel(place: Place) -> None:
    """This includes messages that only direct messages could still use."""
    talk = Conversation(WINDOW)
    (first,) = talk.on_event(ask(1, "[secret]", place=place), replayed=False)
    talk.on_reply(reply(first))
    talk.on_event(event(Reset, 2, place=ROOM), replayed=False)
    (here,) = calls(talk.on_event(ask(3), replayed=False))
    assert "[secret]" not in str(here.request.messages)


def test_a_snapshot_of_an_older_version_can_be_read() -> None:
    """A store outlives upgrades: pending and remembered questions are kept."""
    talk = Conversation.load(GOLDEN_SNAPSHOT.read_bytes(), WINDOW)
    assert [(turn.question, turn.answer) for turn in talk.turns] == [("My name is Ada.", "Hello.")]
    assert [pending.ask.text for pending in talk.pending] == ["What is my name?"]
    effects = talk.on_event(ask(1), replayed=True)
    assert [call.ask.id for call in calls(effects)] == ["q1", "q2"]


def test_a_snapshot_keeps_background_quotes_and_files() -> None:
    """Version 2 stores background, quotes, files and the start of the thread, but no defaults."""
    window = Window(2048, 200, "Be kind.")
    talk = Conversation.load((SNAPSHOTS / "conversation.v2.json").read_bytes(), window)
    (call,) = calls(list(talk.resume()))
    _, before, _, asked, answer, last = contents(call)
    background = (
        f"<background>\n{BACKGROUND_HEAD}\nThey: I like tea.\nYou: Good.\n</background>\n\n"
    )
    quoted = f"{QUOTES_HEAD}\n<quoted>\n[Bob] Disk full.\n</quoted>\n\n"
    file = "File notes.txt:\n<file>\nbuy milk\n</file>\n\n"
    names = "\n[file: scan.pdf (It is not text.)]\n[picture: cat.png]"
    assert before.startswith("14 word")
    assert (asked, answer) == (f"{background}{quoted}{file}q 16{names}", "Aye.")
    assert "[Bob] Still full." in last
    assert fields(Conversation.load(talk.dump(), window)) == fields(talk)


def fields(talk: Conversation) -> list[dict[str, object]]:
    """The remembered turns, in a form that can be compared."""
    return list(map(asdict, talk.turns))


def test_a_snapshot_of_plain_questions_is_little_larger_than_their_text() -> None:
    """Ids, place and order take at most 200 bytes per question."""
    talk = Conversation(WINDOW, USER)
    for number in range(50):
        (call,) = calls(talk.on_event(ask(number, "word " * 10), replayed=False))
        talk.on_reply(reply(call, "word " * 10))
    assert len(talk.dump()) < 50 * (100 + 200) + 1_000


class Talk(RuleBasedStateMachine):
    """Random events: each question is settled once, and no text leaks to other readers."""

    def __init__(self) -> None:
        super().__init__()
        self.talk = Conversation(WINDOW)
        self.count = 0
        self.running: dict[str, CallModel | Settle] = {}
        self.asked: dict[str, Ask] = {}
        # Where each question's text was said. Asking it again says it in the new place, too.
        self.said: dict[str, list[Place]] = {}
        self.settled: list[str] = []
        self.journal: dict[str, Journaled] = {}
        self.places: dict[str, Place] = {}

    def follow(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Cancel):
                continue
            # An edit puts a question back into the queue, and then its older call may be answered.
            looks_first = isinstance(effect, Settle) or effect.check_journal
            assert looks_first or effect.ask.id not in self.settled, "asked after it was settled"
            if effect.after is not None:
                assert effect.after in self.settled, "the reply before it is not in the journal"
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
                assert any(may_recall(at, call.ask.place) for at in said_in), "a text leaked"
        total = sum(estimated_tokens(m["content"]) for m in call.request.messages[:-1])
        assert total <= WINDOW.context_tokens, "larger than the window"

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
        self.follow(self.talk.on_reply(self.journaled(effect, outcome)))

    def journaled(self, effect: CallModel | Settle, outcome: Outcome) -> Journaled:
        """The reply that counts: the journal keeps the first one to each question."""
        asked = effect.ask.id
        if asked not in self.journal:
            self.settled.append(asked)
            self.journal[asked] = reply(effect, f"a [{asked}]", outcome)
        return self.journal[asked]

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
        new_ask = next((p.ask for p in self.talk.pending if p.ask.id == happened.id), None)
        if new_ask is not None:
            self.asked[new_ask.id] = new_ask
            self.said[new_ask.id] = [new_ask.place]
            for first in self.said:
                if f"[{first}]" in new_ask.text:
                    self.said[first].append(new_ask.place)
        self.follow(effects)

    @rule()
    def crashes(self) -> None:
        """A restart from the snapshot asks pending questions again and changes nothing else."""
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
        # An edit can put a question back into the queue while its older call is still running.
        assert {p.ask.id for p in asked} <= set(self.running)
        assert set(self.running) <= {p.ask.id for p in self.talk.pending}
        calling = [p for p in asked if isinstance(self.running[p.ask.id], CallModel)]
        assert len(calling) <= IN_PROGRESS_LIMIT
        for number, one in enumerate(calling):
            for other in calling[number + 1 :]:
                assert not same_thread(one.ask.place, other.ask.place)
        if not asked:
            assert not self.talk.pending, "a question waits although nothing is in progress"
        orders = [turn.order for turn in self.talk.turns]
        assert orders == sorted(orders)

    def teardown(self) -> None:
        """Checks that every question is answered in the end."""
        while self.running:
            _, effect = self.running.popitem()
            self.follow(self.talk.on_reply(self.journaled(effect, "answered")))
        assert self.talk.pending == ()
        assert len(self.settled) == len(set(self.settled))


TestTalk = Talk.TestCase
TestTalk.settings = settings(max_examples=60, stateful_step_count=40)
