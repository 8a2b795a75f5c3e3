"""The rules of linked accounts: who may recall what, and where."""

from datetime import UTC, datetime

import pytest

from dataflow.conversation import Conversation
from dataflow.effects import (
    CallModel,
    Effect,
    Link,
    LinkDone,
    Recall,
    Recalled,
    Settle,
)
from dataflow.linking import LETTERS, NewCode, Unlink, UseCode, command_of, written
from dataflow.tokens import Window
from shared.messages import Ask, Forget, Linked, Place, Stop, Unlinked
from shared.replies import Journaled, Reply

NOW = datetime(2026, 11, 27, tzinfo=UTC)
WINDOW = Window(4096, 500, "You are a bot.")
ADA, ADA_ELSEWHERE, BOB = "slack:ada", "discord:1", "slack:bob"


def place(user: str, audience: str = "direct", channel: str = "dm") -> Place:
    return Place(platform=user.partition(":")[0], channel=channel, audience=audience)  # type: ignore[arg-type]


def ask(user: str, number: int, text: str, **where: str) -> Ask:
    return Ask(id=f"q-{number}", user=user, place=place(user, **where), said_at=NOW, text=text)


def conversation(user: str, *accounts: str, enabled: bool = True) -> Conversation:
    made = Conversation(WINDOW, user, links_accounts=enabled)
    if accounts:
        link(made, *accounts)
    return made


def link(of: Conversation, *accounts: str) -> None:
    event = Linked(id="l-1", user=of.user, place=place(of.user), said_at=NOW, accounts=accounts)
    of.on_event(event, replayed=False)


def hear(of: Conversation, asked: Ask) -> list[Effect]:
    return of.on_event(asked, replayed=False)


def answered(of: Conversation, asked: Ask, text: str) -> None:
    """The question is asked, and the journal has this reply."""
    hear(of, asked)
    reply = Reply(prompt_id=asked.id, user=asked.user, place=asked.place, outcome="answered",
                  text=text, prompt_text=asked.text, said_at=NOW, answered_at=NOW)  # fmt: skip
    of.on_reply(Journaled(reply))


def recalled_by(one: Conversation, other: Conversation, prompt_id: str = "q-9") -> Recalled:
    return Recalled(one.user, prompt_id, other.known_to(one.user))


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("link accounts", NewCode()),
        (" Link  Accounts ", NewCode()),
        ("/link accounts", NewCode()),
        ("unlink accounts", Unlink()),
        ("link ABCD-EFGH", UseCode("ABCDEFGH", confirmed=False)),
        ("link abcd efgh yes", UseCode("ABCDEFGH", confirmed=True)),
        ("`link oil0-1111`", UseCode("01101111", confirmed=False)),
        ("link", None),
        ("link these two lists", None),
        ("please link accounts", None),
        ("link ABCD-EFGH no", None),
        ("link ABCD-EFG", None),
    ],
)
def test_few_exact_words_are_about_links(text: str, command: object) -> None:
    assert command_of(ask(ADA, 1, text)) == command


def test_words_about_links_in_a_channel_are_a_question() -> None:
    assert command_of(ask(ADA, 1, "link accounts", audience="public")) is None


def test_a_code_is_read_as_it_is_written() -> None:
    code = LETTERS[10:14] + LETTERS[-4:]
    assert command_of(ask(ADA, 1, f"link {written(code)}")) == UseCode(code, confirmed=False)


def test_nothing_is_about_links_unless_that_is_enabled() -> None:
    (effect,) = hear(conversation(ADA, enabled=False), ask(ADA, 1, "link accounts"))
    assert isinstance(effect, CallModel)


def test_a_command_is_carried_out_again_after_a_restart_and_leaves_no_turn() -> None:
    ada = conversation(ADA)
    (effect,) = hear(ada, ask(ADA, 1, "link accounts"))
    assert isinstance(effect, Link)
    restored = Conversation.load(ada.dump(), WINDOW, links_accounts=True)
    assert restored.resume() == [effect]
    (settle,) = restored.admission.on_link_done(LinkDone(ADA, "q-1", "the code"))
    assert isinstance(settle, Settle)
    assert (settle.outcome, settle.text) == ("answered", "the code")
    again = Conversation.load(restored.dump(), WINDOW, links_accounts=True)
    assert again.resume() == [settle]
    answered(restored, ask(ADA, 1, "link accounts"), "the code")
    assert restored.turns == ()


def test_a_direct_message_recalls_what_was_said_under_the_other_account() -> None:
    ada, elsewhere = conversation(ADA, ADA_ELSEWHERE), conversation(ADA_ELSEWHERE, ADA)
    asked = ask(ADA_ELSEWHERE, 1, "my cat is Tom", audience="private", channel="c")
    answered(elsewhere, asked, "Nice.")
    (recall,) = hear(ada, ask(ADA, 9, "What is my cat called?"))
    assert recall == Recall(ADA, "q-9", (ADA_ELSEWHERE,))
    (call,) = ada.admission.on_recalled(recalled_by(ada, elsewhere))
    assert isinstance(call, CallModel)
    assert "my cat is Tom" in call.request.messages[-1]["content"]


def test_a_channel_recalls_nothing_of_other_accounts() -> None:
    ada = conversation(ADA, ADA_ELSEWHERE)
    (call,) = hear(ada, ask(ADA, 9, "What is my cat called?", audience="private", channel="c"))
    assert isinstance(call, CallModel)


def test_an_account_gives_nothing_to_one_that_it_is_not_linked_with() -> None:
    bob, ada = conversation(BOB, ADA), conversation(ADA, ADA_ELSEWHERE)
    answered(ada, ask(ADA, 1, "my secret"), "I see.")
    hear(bob, ask(BOB, 9, "What is the secret?"))
    assert recalled_by(bob, ada).turns == ()
    assert bob.admission.on_recalled(Recalled(BOB, "q-never-asked", ada.turns)) == []


def test_several_accounts_recall_together_and_once() -> None:
    ada, elsewhere = conversation(ADA, ADA_ELSEWHERE, "web:ada"), conversation(ADA_ELSEWHERE, ADA)
    answered(elsewhere, ask(ADA_ELSEWHERE, 1, "my cat is Tom"), "Nice.")
    (recall,) = hear(ada, ask(ADA, 9, "hello"))
    assert recall == Recall(ADA, "q-9", (ADA_ELSEWHERE, "web:ada"))
    recalled = recalled_by(ada, elsewhere)
    (call,) = ada.admission.on_recalled(recalled)
    assert isinstance(call, CallModel)
    assert "my cat is Tom" in call.request.messages[-1]["content"]
    assert ada.admission.on_recalled(recalled) == [], "the question is being asked already"


def test_accounts_that_cannot_be_read_are_not_waited_for() -> None:
    ada = conversation(ADA, ADA_ELSEWHERE)
    hear(ada, ask(ADA, 9, "hello"))
    (call,) = ada.admission.on_recalled(Recalled(ADA, "q-9"))
    assert isinstance(call, CallModel)


def test_what_was_recalled_is_looked_up_again_after_a_restart() -> None:
    ada = conversation(ADA, ADA_ELSEWHERE)
    (recall,) = hear(ada, ask(ADA, 9, "hello"))
    restored = Conversation.load(ada.dump(), WINDOW, links_accounts=True)
    assert restored.resume() == [recall]


def test_a_question_of_an_account_that_asks_to_be_forgotten_recalls_nothing() -> None:
    ada, elsewhere = conversation(ADA, ADA_ELSEWHERE), conversation(ADA_ELSEWHERE, ADA)
    answered(elsewhere, ask(ADA_ELSEWHERE, 1, "my cat is Tom"), "Nice.")
    forget = Forget(id="f-1", user=ADA_ELSEWHERE, place=place(ADA_ELSEWHERE), said_at=NOW)
    elsewhere.on_event(forget, replayed=False)
    assert recalled_by(ada, elsewhere).turns == ()


def test_a_question_that_is_stopped_meanwhile_is_not_asked() -> None:
    ada, elsewhere = conversation(ADA, ADA_ELSEWHERE), conversation(ADA_ELSEWHERE, ADA)
    hear(ada, ask(ADA, 9, "hello"))
    stop = Stop(id="s-1", user=ADA, place=place(ADA), said_at=NOW, prompt_id="q-9")
    effects = ada.on_event(stop, replayed=False)
    assert any(isinstance(one, Settle) and one.outcome == "stopped" for one in effects)
    assert ada.admission.on_recalled(recalled_by(ada, elsewhere)) == []


def test_links_survive_a_restart_and_end_with_unlinking_or_forgetting() -> None:
    ada = conversation(ADA, ADA_ELSEWHERE, "web:ada")
    ada = Conversation.load(ada.dump(), WINDOW, links_accounts=True)
    unlinked = Unlinked(
        id="u-1", user=ADA, place=place(ADA), said_at=NOW, accounts=(ADA_ELSEWHERE,)
    )
    ada.on_event(unlinked, replayed=False)
    assert recalled_by(conversation(ADA_ELSEWHERE, ADA), ada).turns == ()
    (recall,) = hear(ada, ask(ADA, 9, "hello"))
    assert recall == Recall(ADA, "q-9", ("web:ada",))
    forget = Forget(id="f-1", user=ADA, place=place(ADA), said_at=NOW)
    ada.on_event(forget, replayed=False)
    assert recalled_by(conversation("web:ada", ADA), ada).turns == ()


def test_a_conversation_without_links_is_stored_as_before() -> None:
    assert b"links" not in conversation(ADA).dump()
