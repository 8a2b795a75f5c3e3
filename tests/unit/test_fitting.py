"""Files and quotes are cut until an event fits into a message; the question is not."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.fitting import fitted
from shared.messages import EVENT_LIMIT_BYTES, Ask, Attachment, Place, Quote

TEXTS = st.text(alphabet=st.sampled_from('a"\\\n\x01日😀'), max_size=400)


def ask(text: str, quotes: list[str], files: list[str | None]) -> Ask:
    return Ask(
        id="slack-1", user="slack:T1-U1", said_at=datetime(2026, 11, 26, tzinfo=UTC),
        place=Place(platform="slack", channel="C1", audience="public"), text=text,
        quotes=tuple(Quote(author="Bob", text=one) for one in quotes),
        attachments=tuple(
            Attachment(name="a", media_type="text/plain", text=one, note="" if one else "closed")
            for one in files
        ),
    )  # fmt: skip


@given(st.lists(TEXTS, max_size=6), st.lists(TEXTS | st.none(), max_size=4), st.integers(0, 3_000))
def test_an_event_fits_whatever_its_quotes_and_files_contain(
    quotes: list[str], files: list[str | None], spare: int
) -> None:
    """A character takes one to six bytes in JSON. Names, notes and the question are not cut."""
    whole = ask("why?", quotes, files)
    bare = ask("why?", ["" for _ in quotes], ["" if one else None for one in files])
    limit = len(bare.wire()) + 100 * (len(quotes) + len(files)) + spare
    found = fitted(whole, limit)
    assert len(found.wire()) <= limit
    assert found.text == "why?"
    assert [one.note for one in found.attachments] == [one.note for one in whole.attachments]
    assert (found == whole) == (len(whole.wire()) <= limit)


def test_the_longest_are_cut_first() -> None:
    """A short quote next to a huge one is not cut, and a note says how much is missing."""
    found = fitted(ask("why?", ["short", "x" * 5_000], ["y" * 100, None]), 2_000)
    assert found.quotes[0].text == "short"
    assert found.attachments[0].text == "y" * 100
    assert found.quotes[1].text.endswith("more characters]")
    kept = found.quotes[1].text.index("\n")
    assert f"[cut: {5_000 - kept:,} more" in found.quotes[1].text


@pytest.mark.parametrize("limit", [10, 400])
def test_a_question_that_is_too_long_by_itself_is_not_cut(limit: int) -> None:
    """The author gets a notice instead."""
    found = fitted(ask("w" * 1_000, ["x" * 1_000], []), limit)
    assert found.text == "w" * 1_000
    assert len(found.wire()) > limit


def repeated_character(limit: int) -> st.SearchStrategy[str]:
    return st.builds(
        lambda sign, count: sign * count,
        st.sampled_from(["a", "\x01", "😀", '"', "é"]),
        st.integers(0, limit),
    )


@settings(deadline=None, max_examples=50)
@given(
    st.text(max_size=4_000),
    st.lists(repeated_character(12_000), max_size=25),
    st.lists(repeated_character(64_000), max_size=10),
)
def test_quotes_and_files_never_make_a_question_too_large(
    text: str, quotes: list[str], files: list[str]
) -> None:
    """A platform can add this much text, and each character can take several bytes."""
    whole = ask(text if text.strip() else "?", quotes, list(files))
    found = fitted(whole)
    assert len(found.wire()) <= EVENT_LIMIT_BYTES
    assert found.text == whole.text
    assert [file.name for file in found.attachments] == [file.name for file in whole.attachments]


def test_an_event_that_fits_is_unchanged() -> None:
    """Quotes and files are cut only if necessary."""
    whole = ask("?", ["x" * 12_000] * 3, ["y" * 150_000])
    assert fitted(whole) == whole
