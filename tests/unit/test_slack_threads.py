"""What of a Slack thread is quoted to a question: all that its conversation does not have."""

from typing import Any

import pytest

from bots.slack.quotes import quoted
from bots.slack.threads import FollowUp

BOT = "UBOT"


def said(*messages: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"ts": str(ts), "user": user, "text": text} for ts, (user, text) in enumerate(messages)]


def answer(asker: str) -> dict[str, Any]:
    payload = {"event_type": "threadwax", "event_payload": {"asker": asker}}
    return {"ts": "90", "user": BOT, "text": "An answer.", "metadata": payload}


def texts(
    thread: list[dict[str, Any]], *, before: str = "99", follow_up: FollowUp = "asker"
) -> list[str]:
    found = quoted(thread, asker="UADA", bot=BOT, before=before, follow_up=follow_up)
    return [text for _, text in found]


def test_what_was_said_to_the_bot_is_not_quoted_before_its_first_answer_either() -> None:
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
def test_what_the_bot_did_not_take_as_a_question_is_quoted(
    follow_up: FollowUp, known: bool
) -> None:
    """Bob asked; what Ada said without a mention was for the bot only where everybody's is."""
    thread = [*said(("UBOB", f"<@{BOT}> why?"), ("UADA", "I wonder."))]
    bobs = f"<@{BOT}> why?"
    assert texts(thread, follow_up=follow_up) == ([bobs] if known else [bobs, "I wonder."])


def test_whoever_the_bot_answers_there_asked_it() -> None:
    """A command's question has no message of its own in the thread."""
    later = {"ts": "91", "user": "UADA", "text": "And when?"}
    assert texts([answer("UADA"), later]) == []
    assert texts([answer("UBOB"), later]) == ["And when?"]
    assert texts([answer("UADA"), later], follow_up="mention") == ["And when?"]
