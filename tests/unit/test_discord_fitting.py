"""A question from Discord fits into an event, whatever other people's words come with it."""

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from bots.discord.fitting import fitted
from shared.messages import EVENT_LIMIT_BYTES, Ask, Attachment, Place, Quote

UNITS = st.sampled_from(["a", "\x01", "😀", '"', "é"])


def texts(limit: int) -> st.SearchStrategy[str]:
    return st.builds(lambda unit, count: unit * count, UNITS, st.integers(0, limit))


FILES = st.builds(
    lambda text, name: Attachment(name=name, media_type="text/plain", text=text),
    texts(64_000),
    st.sampled_from(["a.txt", "b.txt"]),
)
QUOTES = st.builds(lambda text: Quote(author="Bob", text=text), texts(12_000))


def ask_of(text: str, quotes: list[Quote], files: list[Attachment]) -> Ask:
    now = datetime(2026, 11, 26, tzinfo=UTC)
    return Ask(
        id="discord-1", user="discord:1", place=Place(platform="discord", channel="1",
        audience="public"), said_at=now, text=text or "?", quotes=tuple(quotes),
        attachments=tuple(files),
    )  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(
    st.text(max_size=4000),
    st.lists(QUOTES, max_size=25),
    st.lists(FILES, max_size=10),
)
def test_other_peoples_words_never_cost_a_question(
    text: str, quotes: list[Quote], files: list[Attachment]
) -> None:
    """Its own text stays as it is, and every file is at least named."""
    ask = ask_of(text, quotes, files)
    small = fitted(ask)
    assert len(small.wire()) <= EVENT_LIMIT_BYTES
    assert small.text == ask.text
    assert [file.name for file in small.attachments] == [file.name for file in files]
    assert all(file.note or file.text is not None for file in small.attachments)


def test_what_fits_is_not_touched() -> None:
    """Quotes and files are left out only if they have to be."""
    quotes = [Quote(author="Bob", text="x" * 12_000)] * 3
    files = [Attachment(name="a.txt", media_type="text/plain", text="y" * 150_000)]
    ask = ask_of("?", quotes, files)
    assert fitted(ask) == ask
