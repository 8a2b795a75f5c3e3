"""Text from outside is repaired, and split surrogate pairs are joined."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.messages import Ask, Place
from shared.replies import Reply
from shared.text import Joining, repaired

ANY_TEXT = st.text(st.characters(exclude_categories=()))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PLACE = Place(platform="test", channel="ada", audience="direct")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("grüße 😀", "grüße 😀"),
        ("good \ud83d\ude00", "good 😀"),
        ("\ud83d", "\ufffd"),
        ("a\ude00b", "a\ufffdb"),
        ("\ude00\ud83d", "\ufffd\ufffd"),
        ("\ud83d😀", "\ufffd😀"),
        ("\ud83d" * 20 + "\ude00", "\ufffd" * 19 + "😀"),
        ("x\ud83d" + "\ude00" * 20, "x😀" + "\ufffd" * 19),
        ("\ude00" * 20 + "\ud83d" * 20, "\ufffd" * 40),
    ],
)
def test_halves_are_joined_and_a_lone_one_is_replaced(text: str, expected: str) -> None:
    assert repaired(text) == expected


@given(ANY_TEXT)
def test_repaired_text_can_be_encoded_and_stays_unchanged(text: str) -> None:
    once = repaired(text)
    assert once.encode().decode() == once == repaired(once)


@given(st.lists(ANY_TEXT))
def test_repairing_in_pieces_gives_the_same_text(pieces: list[str]) -> None:
    """The text can be cut anywhere, and each piece can be encoded."""
    joining = Joining()
    out = [joining.add(piece) for piece in pieces] + [joining.end()]
    assert all(piece.encode().decode() == piece for piece in out)
    assert "".join(out) == repaired("".join(pieces))


def test_a_message_repairs_its_texts() -> None:
    ask = Ask(id="q", user="test:ada", place=PLACE, said_at=NOW, text="hi \ud83d")
    assert ask.text == "hi \ufffd"
    reply = Reply(
        prompt_id="q", user="test:ada", place=PLACE, address={"title": "\ud83d\ude00"},
        outcome="answered", text="\ud83d\ude00", said_at=NOW, answered_at=NOW,
    )  # fmt: skip
    assert (reply.text, reply.address) == ("😀", {"title": "😀"})
    assert Reply.model_validate_json(reply.wire()) == reply
