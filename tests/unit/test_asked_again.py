"""Questions that are asked again, by Again or an edit, keep their files, quotes and persona."""

from typing import Any

import pytest

from dataflow.admission import TOO_LONG
from dataflow.asked_again import NOT_KEPT
from dataflow.asking_again import NOT_REMEMBERED
from dataflow.conversation import TOO_MANY, Conversation
from dataflow.data_tags import NO_WORDS
from dataflow.effects import CallModel, Settle
from dataflow.model.answer_notes import FALLBACK, LENGTH
from dataflow.question_queue import PENDING_LIMIT
from dataflow.snapshot import Snapshot
from dataflow.tokens import Window
from dataflow.turn import Turn
from shared.messages import Again, Ask, Attachment, Deleted, Edited, Place, Quote
from shared.replies import Outcome
from tests.unit.test_conversation import (
    DM,
    ROOM,
    ROOM_THREAD,
    START,
    USER,
    WINDOW,
    ask,
    calls,
    contents,
    event,
    reply,
)

PICTURE = Attachment(name="cat.png", media_type="image/png", blob="blob-1")
NOTES = Attachment(name="notes.txt", media_type="text/plain", text="buy milk")
SCAN = Attachment(name="scan.pdf", media_type="application/pdf", note="It is not text.")
QUOTE = Quote(author="Bob", text="Disk full.")
FULL = Ask(
    id="q1", user=USER, place=DM, said_at=START, text="What is this?",
    attachments=(PICTURE, NOTES, SCAN), quotes=(QUOTE,), persona="You are a pirate.",
    model="large",
)  # fmt: skip


def assert_complete(call: CallModel, text: str = "What is this?") -> None:
    """Checks that the call has this text and everything else of the question above."""
    assert call.ask.text == text
    assert call.ask.attachments == FULL.attachments
    assert (call.ask.persona, call.ask.model) == (FULL.persona, FULL.model)
    assert contents(call)[0] == "You are a pirate."
    assert "[Bob] Disk full." in contents(call)[-1]
    assert "buy milk" in contents(call)[-1]
    assert "[picture: cat.png]\n[file: scan.pdf (It is not text.)]" in contents(call)[-1]


def again(talk: Conversation, number: int = 2, target: str = "q1") -> list[Any]:
    return talk.on_event(event(Again, number, prompt_id=target), replayed=False)


def edited(talk: Conversation, text: str, number: int = 2, *, ask_again: bool = True) -> list[Any]:
    edit = event(Edited, number, prompt_id="q1", text=text, ask_again=ask_again)
    return talk.on_event(edit, replayed=False)


def asked(talk: Conversation, question: Ask = FULL, outcome: Outcome = "answered") -> None:
    (call,) = calls(talk.on_event(question, replayed=False))
    talk.on_reply(reply(call, "A cat.", outcome))


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("outcome", ["answered", "failed", "stopped"])
def test_a_question_keeps_its_files_quotes_persona_and_model(
    outcome: Outcome, *, restart: bool
) -> None:
    """This holds for Again and for edits, for every outcome, and after a restart."""
    for words in (None, "And that?"):
        talk = Conversation(WINDOW)
        asked(talk, outcome=outcome)
        if restart:
            talk = Conversation.load(talk.dump(), WINDOW)
        (call,) = calls(again(talk) if words is None else edited(talk, words))
        assert_complete(call, words or "What is this?")


def test_again_can_be_repeated_and_keeps_files_and_quotes() -> None:
    """Again can name the first question or the newer one."""
    talk = Conversation(WINDOW)
    asked(talk)
    for number, target in ((2, "q1"), (3, "e2"), (4, "q1")):
        (call,) = calls(again(talk, number, target))
        assert_complete(call)
        talk.on_reply(reply(call, f"Answer {number}."))
    assert [turn.answer for turn in talk.turns] == ["Answer 4."]


def test_large_quotes_and_files_are_kept_for_asking_again() -> None:
    """Later requests contain only their names."""
    talk = Conversation(Window(2048, 200, "Be kind."))
    quotes = tuple(Quote(author="Bob", text=f"{number} " + "word " * 90) for number in range(5))
    asked(talk, FULL.model_copy(update={"quotes": quotes}))
    (call,) = calls(again(talk))
    assert "[Bob] 4 word" in contents(call)[-1]
    assert "buy milk" in contents(call)[-1]


def test_the_model_learns_that_a_file_was_not_kept_when_it_is_asked_again() -> None:
    talk = Conversation(WINDOW)
    long = NOTES.model_copy(update={"name": "long.txt", "text": "line\n" * 1_500})
    asked(talk, FULL.model_copy(update={"attachments": (long,)}))
    (call,) = calls(again(talk))
    assert f"[file: long.txt ({NOT_KEPT})]" in contents(call)[-1]
    talk.on_reply(reply(call))
    (after,) = calls(talk.on_event(ask(3), replayed=False))
    assert "long.txt" in contents(after)[1]


@pytest.mark.parametrize(
    ("there", "kept"),
    [
        (ROOM, True),
        (ROOM.model_copy(update={"space": "S-shared"}), False),
        (ROOM.model_copy(update={"alone": True}), False),
        (ROOM_THREAD, False),
    ],
)
def test_quotes_are_repeated_only_for_readers_of_the_original_place(
    there: Place, *, kept: bool
) -> None:
    """Meanwhile another company may have joined the channel, or its history may be hidden."""
    talk = Conversation(WINDOW)
    asked(talk, FULL.model_copy(update={"place": ROOM}))
    found = talk.on_event(event(Again, 2, there, prompt_id="q1"), replayed=False)
    assert ("Disk full." in str([call.request.messages for call in calls(found)])) == kept


def test_the_memory_for_asking_again_is_bounded_over_all_questions() -> None:
    """After 200 short questions with long personas and files, the newest still has its own."""
    text, persona = "milk " * 400, "You are a pirate. " * 200
    files = tuple(
        Attachment(name=f"{number}.txt", media_type="text/plain", text=text) for number in range(10)
    )
    talk = Conversation(Window(32_768, 200, "Be kind."))
    for number in range(1, 201):
        question = ask(number, f"[{number}]").model_copy(
            update={"attachments": files if number % 2 else (), "persona": persona}
        )
        asked(talk, question)
    assert len(talk.dump()) < 250_000
    assert len(talk.turns) == 200
    (call,) = calls(again(talk, 999, "q200"))
    assert call.ask.persona == persona


def test_notes_at_the_end_of_an_answer_are_not_remembered() -> None:
    """Notes are for people; a model that reads them would imitate them."""
    talk = Conversation(WINDOW)
    (call,) = calls(talk.on_event(ask(1), replayed=False))
    talk.on_reply(reply(call, f"Aye.{LENGTH}{FALLBACK.format(model='small')}"))
    (after,) = calls(talk.on_event(ask(2), replayed=False))
    assert contents(after)[2] == "Aye."


def test_a_picture_without_text_is_never_an_empty_message() -> None:
    """It is asked, remembered, asked again, and edited to have text and then none."""
    talk = Conversation(WINDOW)
    asked(talk, FULL.model_copy(update={"text": "", "attachments": (PICTURE,), "quotes": ()}))
    (after,) = calls(talk.on_event(ask(9), replayed=False))
    assert contents(after)[1] == "[picture: cat.png]"
    talk.on_reply(reply(after))
    for number, text in ((2, "What is it?"), (3, " ")):
        (call,) = calls(edited(talk, text, number))
        assert call.ask.attachments == (PICTURE,)
        assert contents(call)[-1].endswith("[picture: cat.png]")
        talk.on_reply(reply(call, "A cat."))
    (call,) = calls(again(talk, 4))
    assert contents(call)[-1] == "[picture: cat.png]"


def test_an_edit_that_leaves_nothing_to_ask_is_ignored() -> None:
    """The question can be unknown, in progress or answered."""
    talk = Conversation(WINDOW)
    assert edited(talk, " ") == []
    (call,) = calls(talk.on_event(ask(1), replayed=False))
    assert edited(talk, "", 3) == []
    talk.on_reply(reply(call))
    assert edited(talk, "\n", 4) == []
    assert talk.pending == ()


def test_an_edit_of_a_queued_question_keeps_its_files_and_quotes() -> None:
    talk = Conversation(WINDOW)
    (first,) = calls(talk.on_event(ask(0), replayed=False))
    talk.on_event(FULL, replayed=False)
    assert edited(talk, "And that?", ask_again=False) == []
    (call,) = calls(talk.on_reply(reply(first)))
    assert_complete(call, "And that?")


def test_again_uses_the_text_of_an_edit_in_progress() -> None:
    talk = Conversation(WINDOW)
    asked(talk)
    (newer,) = calls(edited(talk, "And that?"))
    assert again(talk, 3) == []
    (call,) = calls(talk.on_reply(reply(newer)))
    assert_complete(call, "And that?")


def test_an_edit_back_to_the_first_text_is_asked() -> None:
    """While the first edit is in progress, the remembered question still has the old text."""
    talk = Conversation(WINDOW)
    asked(talk)
    (newer,) = calls(edited(talk, "And that?"))
    assert edited(talk, "What is this?", 3) == []
    (call,) = calls(talk.on_reply(reply(newer)))
    assert_complete(call)


def test_an_edit_of_a_deleted_question_is_asked_without_its_files_and_persona() -> None:
    """The text of the edit is answered with the default persona and model."""
    talk = Conversation(WINDOW)
    asked(talk)
    talk.on_event(event(Deleted, 2, prompt_id="q1"), replayed=False)
    (call,) = calls(edited(talk, "And that?", 3))
    assert contents(call) == ["Be kind.", "And that?"]
    assert (call.ask.persona, call.ask.model) == (None, None)


def test_a_question_refused_because_of_a_full_queue_can_be_asked_again() -> None:
    """It is asked with its files and quotes as soon as the queue has room."""
    talk = Conversation(WINDOW)
    (first,) = talk.on_event(ask(100), replayed=False)
    for number in range(101, 100 + PENDING_LIMIT):
        talk.on_event(ask(number), replayed=False)
    (refusal,) = talk.on_event(FULL, replayed=False)
    talk.on_reply(reply(refusal, TOO_MANY, "refused"))
    effects = talk.on_reply(reply(first))
    assert again(talk) == []
    while effects[0].ask.id != "e2":
        effects = talk.on_reply(reply(effects[0]))
    assert_complete(effects[0])


def test_a_question_that_was_too_long_can_be_edited() -> None:
    """The shorter question keeps its files and persona."""
    talk = Conversation(WINDOW)
    (refusal,) = talk.on_event(FULL.model_copy(update={"text": "word " * 9_000}), replayed=False)
    assert isinstance(refusal, Settle)
    talk.on_reply(reply(refusal, TOO_LONG, "refused"))
    (call,) = calls(edited(talk, "And that?"))
    assert_complete(call, "And that?")
    talk.on_reply(reply(call))
    (after,) = calls(talk.on_event(ask(9), replayed=False))
    assert "word word" not in str(contents(after))


def test_a_refusal_to_ask_again_does_not_count_as_a_question() -> None:
    """Pressing Again below the refusal is refused, too."""
    talk = Conversation(WINDOW)
    for number, target in ((2, "q9"), (3, "e2"), (4, "q9")):
        (refusal,) = again(talk, number, target)
        assert isinstance(refusal, Settle)
        assert (refusal.outcome, refusal.text) == ("refused", NOT_REMEMBERED)
        talk.on_reply(reply(refusal, NOT_REMEMBERED, "refused"))


def test_a_question_asked_again_keeps_its_persona_after_the_default_changes() -> None:
    """A question without a persona of its own gets the current default."""
    talk = Conversation(WINDOW)
    asked(talk)
    asked(talk, ask(2).model_copy(update={"persona": "You are a nurse."}))
    asked(talk, ask(3))
    changed = Conversation.load(talk.dump(), Window(4000, 1000, "Be brief."))
    for number, target, persona in (
        (4, "q1", "You are a pirate."), (5, "q2", "You are a nurse."), (6, "q3", "Be brief."),
    ):  # fmt: skip
        (call,) = calls(again(changed, number, target))
        assert contents(call)[0] == persona
        changed.on_reply(reply(call))


def test_a_turn_without_any_text_is_not_an_empty_message() -> None:
    """Older versions did not store the picture of a question."""
    saved = Snapshot(
        user=USER, pending=(), turns=(Turn("q1", DM, "", "A cat.", 1, 20),), settled=("q1",),
        next_order=2, ratio=1.3,
    )  # fmt: skip
    talk = Conversation.load(saved.dump(), WINDOW)
    (refusal,) = again(talk)
    assert (refusal.outcome, refusal.text) == ("refused", NOT_REMEMBERED)
    talk.on_reply(reply(refusal, NOT_REMEMBERED, "refused"))
    (after,) = calls(talk.on_event(ask(3), replayed=False))
    assert contents(after)[1] == NO_WORDS
