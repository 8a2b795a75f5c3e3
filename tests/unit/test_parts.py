"""The parts of an answer respect the platform's limits, and no text is left out silently."""

import asyncio
import re
import threading

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from bots.discord.markup import downgraded
from bots.parts import INLINE_CHARS, READ_FACTOR, Shape, first_part_of, parts_of
from bots.split_text import Length, split_text, utf16_length


def shape(limit: int, most: int, length: Length = len) -> Shape:
    return Shape(limit, most, length, prepared=str)


TEXTS = st.lists(
    st.sampled_from(["word ", "\n\n", "```\n", "x = 1\n", "😀", "a" * 30, "> ", "\n"]), max_size=80
).map("".join)


@given(text=TEXTS, limit=st.integers(20, 200), most=st.integers(1, 5))
def test_there_are_never_more_or_longer_parts_than_allowed(
    text: str, limit: int, most: int
) -> None:
    """This includes the notice, and lengths are in the unit of the platform."""
    parts = asyncio.run(parts_of(shape(limit, most, utf16_length), text))
    assert len(parts) <= most
    assert all(utf16_length(part) <= limit for part in parts)


@example(text="word " + "\n" * 8, limit=2)
@given(text=TEXTS, limit=st.integers(2, 200))
def test_an_answer_that_fits_is_only_split(text: str, limit: int) -> None:
    """Such an answer has no notice, unless most of it is blank lines."""
    whole = split_text(text, limit)
    assume(len(text) <= READ_FACTOR * limit * max(1, len(whole)))
    assert asyncio.run(parts_of(shape(limit, max(1, len(whole))), text)) == whole


async def test_the_last_part_says_how_much_is_missing() -> None:
    """Shown and missing characters add up to the length of the answer."""
    text = "word " * 2_000
    *_, last = parts = await parts_of(shape(1_000, 3), text)
    assert len(parts) == 3
    found = re.search(r"\(([\d,]+) more characters of this answer are not shown here\.", last)
    assert found
    shown = len("".join(parts)) - len(last) + last.index("\n\n(")
    assert abs(shown + int(found[1].replace(",", "")) - len(text)) < 10


async def test_unfinished_code_is_closed_before_the_notice() -> None:
    """Otherwise the notice would look like code."""
    _, last = await parts_of(shape(1_000, 2), "```py\n" + "x = 1\n" * 2_000 + "```")
    code, _, notice = last.rpartition("\n\n(")
    assert code.startswith("```py\n")
    assert code.endswith("\n```")
    assert "not shown" in notice


@pytest.mark.parametrize("chars", [INLINE_CHARS, INLINE_CHARS + 1])
async def test_a_long_text_is_processed_in_a_thread(chars: int) -> None:
    """The event loop is free meanwhile."""
    threads = set()

    def prepared(text: str) -> str:
        threads.add(threading.current_thread())
        return text

    platform = Shape(10_000, 1, len, prepared)
    assert await parts_of(platform, "x" * chars) == ["x" * chars]
    assert (threads == {threading.main_thread()}) is (chars == INLINE_CHARS)


async def test_a_preview_reads_the_beginning_only() -> None:
    """So every preview of a long answer takes the same time."""
    lengths = []

    def prepared(text: str) -> str:
        lengths.append(len(text))
        return text

    platform = Shape(2_000, 20, len, prepared)
    text = "word " * 40_000
    first = await first_part_of(platform, text, room=1_998)
    assert first == split_text(text, 1_998)[0]
    assert lengths == [2 * 1_998]
    assert await first_part_of(platform, " \n", room=1_998) == ""


@pytest.mark.parametrize("text", ["<br>" * 30, "\n" * 5_000 + "word", " " * 5_000 + "word"])
async def test_an_answer_that_is_not_blank_has_a_part(text: str) -> None:
    """Otherwise its question would seem to have no answer."""
    platform = Shape(100, 20, len, downgraded)
    assert await parts_of(platform, text)
    assert await parts_of(platform, " \n") == []


async def test_the_end_of_a_very_long_answer_is_not_even_read() -> None:
    """Text that is not shown is only counted, not processed."""
    lengths = []

    def prepared(text: str) -> str:
        lengths.append(len(text))
        return "short"

    (part,) = await parts_of(Shape(2_000, 20, len, prepared), "word " * 40_000)
    assert lengths == [80_000]
    assert part.startswith("short\n\n(120,000 more characters")
