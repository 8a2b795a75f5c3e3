"""Again, and edits that ask again: the question keeps everything that it came with."""

from typing import Any

import pytest

from dataflow.asked_again import NOT_KEPT
from dataflow.conversation import NOT_REMEMBERED, TOO_LONG, TOO_MANY, Conversation
from dataflow.data_tags import NO_WORDS
from dataflow.effects import CallModel, Settle
from dataflow.model.answer_notes import FALLBACK, LENGTH
from dataflow.question_queue import PENDING_LIMIT
from dataflow.snapshot import Snapshot
from dataflow.tokens import Window
from dataflow.turns import Turn
from shared.messages import Again, Ask, Attachment, Deleted, Edited, Outcome, Place, Quote
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


def had_everything(call: CallModel, text: str = "What is this?") -> None:
    """Everything that belongs to the question above, with this text."""
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
    """Again and an edit, whatever happened to the first answer, even after a restart."""
    for words in (None, "And that?"):
        talk = Conversation(WINDOW)
        asked(talk, outcome=outcome)
        if restart:
            talk = Conversation.load(talk.dump(), WINDOW)
        (call,) = calls(again(talk) if words is None else edited(talk, words))
        had_everything(call, words or "What is this?")


def test_again_of_an_again_keeps_them() -> None:
    """Either the id of the first question or that of the newer one can be used."""
    talk = Conversation(WINDOW)
    asked(talk)
    for number, target in ((2, "q1"), (3, "e2"), (4, "q1")):
        (call,) = calls(again(talk, number, target))
        had_everything(call)
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


def test_a_file_that_is_not_kept_says_so_when_it_is_asked_again() -> None:
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
def test_quotes_come_again_only_to_those_who_could_read_them(there: Place, *, kept: bool) -> None:
    """Another company may have joined the channel, or its history may be hidden now."""
    talk = Conversation(WINDOW)
    asked(talk, FULL.model_copy(update={"place": ROOM}))
    found = talk.on_event(event(Again, 2, there, prompt_id="q1"), replayed=False)
    assert ("Disk full." in str([call.request.messages for call in calls(found)])) == kept


def test_what_is_kept_for_asking_again_is_bounded_over_all_questions() -> None:
    """With long personas and files of 200 short questions, the newest question keeps its own."""
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
    """Notes are for people: a model that reads them would imitate them."""
    talk = Conversation(WINDOW)
    (call,) = calls(talk.on_event(ask(1), replayed=False))
    talk.on_reply(reply(call, f"Aye.{LENGTH}{FALLBACK.format(model='small')}"))
    (after,) = calls(talk.on_event(ask(2), replayed=False))
    assert contents(after)[2] == "Aye."


def test_a_picture_without_words_is_never_an_empty_message() -> None:
    """It is asked, remembered, asked again, and edited to have a text and then none again."""
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


def test_an_edit_to_nothing_is_ignored_where_nothing_else_is_left() -> None:
    """Whether the question is answered, waiting, or unknown."""
    talk = Conversation(WINDOW)
    assert edited(talk, " ") == []
    (call,) = calls(talk.on_event(ask(1), replayed=False))
    assert edited(talk, "", 3) == []
    talk.on_reply(reply(call))
    assert edited(talk, "\n", 4) == []
    assert talk.pending == ()


def test_an_edit_while_queued_keeps_them() -> None:
    talk = Conversation(WINDOW)
    (first,) = calls(talk.on_event(ask(0), replayed=False))
    talk.on_event(FULL, replayed=False)
    assert edited(talk, "And that?", ask_again=False) == []
    (call,) = calls(talk.on_reply(reply(first)))
    had_everything(call, "And that?")


def test_the_newest_words_are_asked_again_while_an_edit_is_on_its_way() -> None:
    talk = Conversation(WINDOW)
    asked(talk)
    (newer,) = calls(edited(talk, "And that?"))
    assert again(talk, 3) == []
    (call,) = calls(talk.on_reply(reply(newer)))
    had_everything(call, "And that?")


def test_an_edit_back_to_the_first_words_is_asked_too() -> None:
    """While the previous edit is in progress, the remembered question still has the old text."""
    talk = Conversation(WINDOW)
    asked(talk)
    (newer,) = calls(edited(talk, "And that?"))
    assert edited(talk, "What is this?", 3) == []
    (call,) = calls(talk.on_reply(reply(newer)))
    had_everything(call)


def test_an_edit_of_a_forgotten_question_is_asked_with_what_it_has() -> None:
    """The default persona and model of the place answer the text of the edit."""
    talk = Conversation(WINDOW)
    asked(talk)
    talk.on_event(event(Deleted, 2, prompt_id="q1"), replayed=False)
    (call,) = calls(edited(talk, "And that?", 3))
    assert contents(call) == ["Be kind.", "And that?"]
    assert (call.ask.persona, call.ask.model) == (None, None)


def test_a_question_that_was_one_too_many_can_be_asked_again() -> None:
    """It is asked with everything that it came with, once there is room."""
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
    had_everything(effects[0])


def test_a_question_that_was_too_long_can_be_edited() -> None:
    """The shorter question keeps its files and persona."""
    talk = Conversation(WINDOW)
    (refusal,) = talk.on_event(FULL.model_copy(update={"text": "word " * 9_000}), replayed=False)
    assert isinstance(refusal, Settle)
    talk.on_reply(reply(refusal, TOO_LONG, "refused"))
    (call,) = calls(edited(talk, "And that?"))
    had_everything(call, "And that?")
    talk.on_reply(reply(call))
    (after,) = calls(talk.on_event(ask(9), replayed=False))
    assert "word word" not in str(contents(after))


def test_a_refusal_to_ask_again_is_no_question() -> None:
    """Again on that refusal is also refused."""
    talk = Conversation(WINDOW)
    for number, target in ((2, "q9"), (3, "e2"), (4, "q9")):
        (refusal,) = again(talk, number, target)
        assert isinstance(refusal, Settle)
        assert (refusal.outcome, refusal.text) == ("refused", NOT_REMEMBERED)
        talk.on_reply(reply(refusal, NOT_REMEMBERED, "refused"))


def test_a_persona_that_changed_meanwhile_counts_for_new_questions() -> None:
    """A question that is asked again keeps its persona; the default is the current one."""
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


def test_a_turn_of_which_no_words_are_left_is_no_empty_message() -> None:
    """Older versions stored a question with a picture without the picture."""
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
