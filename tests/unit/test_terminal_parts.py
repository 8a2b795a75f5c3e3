"""The terminal's building blocks: sanitized text, growing answers, drawing, wrapping, history."""

import random
import stat
from pathlib import Path

import pytest

from bots.terminal.history import FILE_LIMIT_BYTES, History
from bots.terminal.markup import Markup
from bots.terminal.preview import PIECE_CHARS, Piece, Preview
from bots.terminal.reflow import rewraps, rows_added
from bots.terminal.sanitizing import sanitized
from tests.fakes.flow import grown
from tests.unit.test_linear import HOSTILE

# --- sanitized text ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]52;c;c2VjcmV0\x1b\\text", "text"),
        ("\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP+q544e\x1b\\text", "text"),
        ("\x9b2J\x9d0;title\x9ctext", "text"),
        ("\x1b[?1049h\x1b[6n\x1bctext", "ctext"),
        ("a\rb\x08c\x07d\x0be\x0cf\x7fg\x00h", "abcdefgh"),
        ("user = \u202e'nimda'\u202c \u2066x\u2069", "user = 'nimda' x"),
        ("שלום \u200fabc\u200e مرحبا", "שלום \u200fabc\u200e مرحبا"),
        ("👩\u200d👧 🇩🇪 e\u0301 日本語\ttab\nline", "👩\u200d👧 🇩🇪 e\u0301 日本語\ttab\nline"),
    ],
)  # fmt: skip
def test_sanitized_text_cannot_control_a_terminal(text: str, shown: str) -> None:
    """Escape sequences are removed completely; letters, joiners, tabs and line ends stay."""
    assert sanitized(text) == shown


# --- growing ----------------------------------------------------------------------------------


def shown_of(text: str, step: int) -> tuple[list[Piece], list[str]]:
    """The finished pieces of a text that grows by `step` characters, and the tails after them."""
    growing, pieces, tails = Preview(), [], []
    for end in range(0, len(text), step):
        pieces += growing.grow(text[:end])
        tails.append(growing.tail)
    return pieces + growing.end(text), tails


@pytest.mark.parametrize("step", [1, 7, 1000, 100_000])
def test_the_pieces_make_up_the_answer_however_it_grows(step: int) -> None:
    """The pieces are the same, without gaps or repetitions, and no block is cut."""
    text = grown(40)
    pieces, _ = shown_of(text, step)
    assert "".join(piece.text for piece in pieces) == text
    assert all(piece.spaced for piece in pieces)
    assert len(pieces) > 20
    assert pieces == shown_of(text, 3)[0]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a\n\nb", ["a\n\n", "b"]),
        ("a\nb\n", ["a\nb\n"]),
        ("- a\n\n  still a\n\nb", ["- a\n\n  still a\n\n", "b"]),
        ("```\na\n\nb\n```\n\nc", ["```\na\n\nb\n```\n\n", "c"]),
        ("- ```\n  a\n\nb\n  ```\n\nc", ["- ```\n  a\n\nb\n  ```\n\n", "c"]),
        ("> ```\n> a\n\nb", ["> ```\n> a\n\n", "b"]),
        ("~~~\n\n```\n\na", ["~~~\n\n```\n\na"]),
        ("\n\n\na", ["\n\n\n", "a"]),
        ("a\n\n    code\n\nb", ["a\n\n    code\n\n", "b"]),
        ("  \n", []),
        ("", []),
    ],
)
def test_a_block_is_finished_when_the_next_one_begins(text: str, pieces: list[str]) -> None:
    """An indented line can belong to the previous list item; fenced code is one block."""
    assert [piece.text for piece in shown_of(text, 1)[0]] == pieces


def test_a_long_piece_is_cut_at_a_line_or_a_space() -> None:
    """Nothing is lost, and code continues in a fence with the same language."""
    words = "word " * 3000
    pieces, tails = shown_of(words, 50)
    assert "".join(piece.text for piece in pieces) == words
    assert all(piece.text.endswith(" ") for piece in pieces)
    code = "".join(f"line {number}\n" for number in range(2000))
    pieces, tails = shown_of(f"```python\n{code}```\n", 50)
    assert len(pieces) > 2
    for piece in pieces:
        assert piece.text.startswith("```python\n")
        assert piece.text.endswith("\n```" if not piece.spaced else "```\n")
    inner = [piece.text.removeprefix("```python\n").removesuffix("```\n") for piece in pieces]
    assert "".join(text.removesuffix("```") for text in inner) == code
    assert max(map(len, tails)) <= PIECE_CHARS + len("```python\n")


@pytest.mark.parametrize("name", HOSTILE)
def test_no_piece_is_long_and_no_text_is_lost(name: str) -> None:
    """So the part that is redrawn is limited."""
    text = HOSTILE[name](10_000)
    pieces, tails = shown_of(text, 499)
    most = PIECE_CHARS + 200  # for closing and reopening a fence
    assert max(len(piece.text) for piece in pieces or [Piece("", spaced=True)]) <= most
    assert max(map(len, tails)) <= most
    if "`" not in text and "~" not in text:
        assert "".join(piece.text for piece in pieces).strip() == text.strip()


def test_a_text_that_begins_differently_is_detected() -> None:
    """Only finished pieces count, because the tail can change."""
    growing = Preview()
    assert growing.grow("a\n\nb\n\nc") == [Piece("a\n\n", spaced=True), Piece("b\n\n", spaced=True)]
    assert growing.continues("a\n\nb\n\n```")
    assert not growing.continues("a\n\nB\n\nc")
    assert not growing.continues("a\n\n")
    assert growing.grow("a\n\nb\n\n```\n\nd") == []
    assert growing.end("a\n\nb\n\nx") == [Piece("x", spaced=True)]


# --- drawing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [10, 20, 40, 80])
def test_drawn_rows_fit_and_have_no_trailing_blanks(columns: int) -> None:
    """In a narrower window, trailing blanks would become rows."""
    drawn = Markup().markdown(grown(14), columns)
    rows = sanitized(drawn).splitlines()
    assert rows
    assert [row for row in rows if row != row.rstrip()] == []
    assert max(map(len, rows)) <= columns


def test_a_link_shows_where_it_leads() -> None:
    """A model could hide an address behind a label or in an escape sequence."""
    drawn = Markup().markdown("[my bank](https://evil.example) \x1b]8;;https://x.example\x07x", 80)
    assert "https://evil.example" in sanitized(drawn)
    assert "\x1b]8" not in drawn
    assert "x.example" not in drawn


# --- wrapping ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("widths", "cursor", "columns", "added"),
    [
        ([], 5, 80, 0),
        ([80, 80, 3], 5, 80, 0),
        ([80, 80, 3], 5, 40, 2),
        ([81, 0, 120], 5, 40, 4),
        ([80], 45, 40, 2),
        ([3], 5, 2, 3),
    ],
)
def test_the_rows_added_by_rewrapping_are_counted(
    widths: list[int], cursor: int, columns: int, added: int
) -> None:
    """These are rows above the cursor that are now too wide, and the cursor's own row."""
    assert rows_added(widths, cursor, columns) == added


@pytest.mark.parametrize(
    ("environment", "wraps"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "screen-256color", "TMUX": "1"}, True),
        ({"TERM": "screen"}, False),
        ({"TERM": "xterm", "XTERM_VERSION": "XTerm(390)"}, False),
        ({"TERM": "linux"}, False),
    ],
)
def test_terminals_that_do_not_rewrap_are_recognized(
    environment: dict[str, str], wraps: bool
) -> None:
    """Most terminals do; the environment identifies those that do not."""
    assert rewraps(environment) is wraps


# --- history ----------------------------------------------------------------------------------


def test_history_keeps_the_newest_entries(tmp_path: Path) -> None:
    """The history is limited in number and bytes, and its file is private."""
    path = tmp_path / "made" / "ada.history"
    history = History(path, 3)
    assert history.load() == []
    for number in range(10):
        history.add(f"entry {number}\nwith a line")
    history.add(" not this one")
    history.add("x" * FILE_LIMIT_BYTES)
    assert History(path, 3).load() == [f"entry {number}\nwith a line" for number in (7, 8, 9)]
    assert len(path.read_text().splitlines()) == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    large = History(path, 1000)
    for number in range(8):
        large.add(f"{number}" * (FILE_LIMIT_BYTES // 5))
    assert [entry[0] for entry in large.load()] == ["6", "7"]
    assert path.stat().st_size < FILE_LIMIT_BYTES
    assert history.take_trouble() == large.take_trouble() == ""


def test_a_damaged_history_is_tolerated(tmp_path: Path) -> None:
    """A crash can leave half a line, and an editor can leave anything."""
    path = tmp_path / "ada.history"
    noise = random.Random(1).randbytes(200).replace(b"\n", b"")
    path.write_bytes(b'"good"\n7\n[]\n""\n' + noise + b'\n"also good"\n"half')
    history = History(path, 100)
    assert history.load() == ["good", "also good"]
    history.add("new")
    assert history.take_trouble() == ""


def test_a_history_that_cannot_be_stored_says_why(tmp_path: Path) -> None:
    """The reason appears once, and the chat continues."""
    (tmp_path / "file").write_text("")
    history = History(tmp_path / "file" / "ada.history", 100)
    assert history.load() == []
    history.add("x")
    assert "Not a directory" in history.take_trouble()
    history.add("y")
    assert history.take_trouble() == ""
