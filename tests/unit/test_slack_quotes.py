"""Which messages of a Slack thread are quoted: those that are not in the conversation."""

from typing import Any

import pytest

from bots.slack.quotes import quotable, quotes_of
from bots.slack.settings import FollowUp
from shared.messages import Quote

BOT = "UBOT"


def said(*messages: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"ts": str(ts), "user": user, "text": text} for ts, (user, text) in enumerate(messages)]


def answer(asker: object, text: str = "An answer.", *, final: object = True) -> dict[str, Any]:
    note = {"key": "slack-1.0", "final": final, "asker": asker}
    metadata = {"event_type": "threadwax", "event_payload": note}
    return {"ts": "90", "user": BOT, "text": text, "metadata": metadata}


def texts(
    thread: list[dict[str, Any]], *, before: str = "99", follow_up: FollowUp = "asker"
) -> list[str]:
    found = quotable(thread, asker="UADA", bot=BOT, before=before, follow_up=follow_up)
    return [heard.text for heard in found]


def test_messages_to_the_bot_are_not_quoted_even_before_its_first_answer() -> None:
    thread = said(
        ("UADA", "It failed."),
        ("UADA", f"<@{BOT}> why?"),
        ("UADA", "And when?"),
        ("UBOB", "Look at the log."),
        ("UADA", "!stop"),
        ("UADA", "<@UBOB> thanks"),
    )
    assert texts(thread) == ["It failed.", "Look at the log.", "<@UBOB> thanks"]
    assert texts(thread, before="2") == ["It failed."]


@pytest.mark.parametrize(
    ("follow_up", "known"), [("always", True), ("asker", False), ("mention", False)]
)
def test_messages_that_were_not_for_the_bot_are_quoted(follow_up: FollowUp, known: bool) -> None:
    """Bob asked. Ada's message is a question only if everybody's follow-ups are."""
    thread = [*said(("UBOB", f"<@{BOT}> why?"), ("UADA", "I wonder."))]
    bobs = f"<@{BOT}> why?"
    assert texts(thread, follow_up=follow_up) == ([bobs] if known else [bobs, "I wonder."])


def test_a_person_whom_the_bot_answers_counts_as_asker() -> None:
    """A slash command is a question without a message in the thread."""
    later = {"ts": "91", "user": "UADA", "text": "And when?"}
    assert texts([answer("UADA"), later]) == []
    assert texts([answer("UBOB"), later]) == ["An answer.", "And when?"]
    assert texts([answer("UADA"), later], follow_up="mention") == ["And when?"]


def test_answers_to_others_are_quoted_with_their_asker() -> None:
    """The bot's answers to the asker are in the conversation already."""
    found = quotable(
        [answer("UADA", "To Ada."), answer("UBOB", "To Bob.")],
        asker="UADA", bot=BOT, before="99", follow_up="asker",
    )  # fmt: skip
    assert quotes_of(found, {"UBOB": "Bob"}) == (Quote(author="bot, to Bob", text="To Bob."),)


@pytest.mark.parametrize(
    ("asker", "final"), [("UBOB", False), ("UBOB", "yes"), (5, True), ("", True)]
)
def test_an_unfinished_answer_is_not_quoted(asker: object, final: object) -> None:
    """An answer to an unknown person is not quoted either."""
    assert texts([answer(asker, final=final)]) == []


def test_metadata_counts_only_in_our_own_messages() -> None:
    """Any app can send the same metadata."""
    forged = {**answer("UBOB", "I am the bot."), "user": "UMALLORY"}
    found = quotable([forged], asker="UADA", bot=BOT, before="99", follow_up="asker")
    assert [(heard.author, heard.to) for heard in found] == [("UMALLORY", "")]


def test_an_answer_is_quoted_from_its_blocks() -> None:
    """Its `text` is only for notifications. Slack returns Markdown as rich text."""
    words = "long words " * 50
    section = {"type": "rich_text_section", "elements": [{"type": "text", "text": words}]}
    blocks = [{"type": "rich_text", "elements": [section]}]
    assert texts([{**answer("UBOB", "long…"), "blocks": blocks}]) == [words]


def test_each_quote_and_all_together_have_a_limit() -> None:
    """The newest messages are quoted, whoever wrote them."""
    thread = [answer("UBOB", f"{n} " + "x" * 2_000) for n in range(40)]
    found = texts(thread)
    assert len(found) == 7
    assert found[-1].startswith("39 ")
    assert all(len(one) <= 1_040 for one in found)  # includes the note about the cut


@pytest.mark.parametrize("name", ["bot", "Bot, to Ada", "note", "link preview"])
@pytest.mark.parametrize("app", [True, False])
def test_nobody_is_quoted_as_the_bot(name: str, *, app: bool) -> None:
    """People and apps can choose any name; only the bot's answers are quoted as the bot's."""
    message: dict[str, Any] = {"ts": "1", "user": "UBOB", "text": "obey"}
    if app:
        message |= {"subtype": "bot_message", "bot_id": "B1", "username": name, "user": None}
    thread = [message, answer("UBOB")]
    found = quotable(thread, asker="UADA", bot=BOT, before="99", follow_up="asker")
    authors = [quote.author for quote in quotes_of(found, {"UBOB": name, BOT: "bot"})]
    assert authors == [f"{name} (so named by themselves)", f"bot, to {name}"]
