"""Tables on platforms without tables are readable, complete, and not much longer."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.discord.markup import downgraded
from bots.split_text import split_text, utf16_length

CELLS = st.text(st.sampled_from("ab1 .`*_$<>[]()!\\ä日😀"), max_size=80).map(str.strip)
ROWS = st.lists(CELLS, min_size=1, max_size=6)


def table(*rows: list[str]) -> str:
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text)


def test_a_narrow_table_has_columns() -> None:
    """The columns are aligned even if a character takes two of them."""
    assert downgraded(table(["a", "b"], ["日本", "1"], ["x", "2"])) == (
        "```\na     b\n----  -\n日本  1\nx     2\n```"
    )


def test_a_wide_table_is_a_list() -> None:
    """Each row is an item with the header before each cell. Empty cells are left out."""
    long = "a sentence that goes on for a while " * 3
    shown = downgraded(table(["Name", "What it does"], ["grep", long], ["cat", ""]))
    assert shown == f"- Name: grep; What it does: {long.strip()}\n- Name: cat"


def test_a_wide_table_keeps_its_other_markdown() -> None:
    """A list is not code, so emphasis is drawn, and an image is a link."""
    shown = downgraded(table(["a", "b"], ["**x**<br>y", "![cat](https://x.y/c.png)" + "z" * 60]))
    assert shown == f"- a: **x** / y; b: cat: <https://x.y/c.png>{'z' * 60}"


def test_one_long_cell_does_not_pad_every_row() -> None:
    """Otherwise a table could become many messages that consist mostly of blanks."""
    text = table(["k", "v"], *([str(n), "x"] for n in range(60)), ["long", "y" * 800])
    (part,) = split_text(downgraded(text), 2_000, length=utf16_length)
    assert part.count(" ") < len(part) / 4


def test_headers_that_are_longer_than_the_cells_are_shown_once() -> None:
    """A hostile header is not repeated, and a missing cell does not hide a header."""
    head = "h" * 500
    shown = downgraded(table([head, "i"], *(["1", "2"] for _ in range(50))))
    assert shown.startswith(f"- {head}; i\n- 1; 2\n")
    assert shown.count(head) == 1
    assert downgraded(table(["first " * 12, "second"], ["x" * 99])).startswith("- first")


@pytest.mark.parametrize(
    "text",
    [
        "|a" * 1_000 + "|\n" + "|-" * 1_000 + "|\n" + "|x|\n" * 10_000,
        "|a|b|\n|-|-|\n" + "|1|2|\n" * 10_000,
        "|a|b|\n|-|-|\n" + "|1|2|\n" * 1_000 + "|" + "x" * 50_000 + "|",
        "|" + "h" * 50_000 + "|b|\n|-|-|\n" + "|1|2|\n" * 1_000,
        "|a|b|\n|-|-|\n" + "|" * 50_000,
        "|" + "a" * 50 + "|b|\n|-|-|\n" + "||x|\n" * 10_000,
        "|a|b|\n|-|-|\n" + "|1|2" * 10_000,
        "> |a|b|\n> |-|-|\n" + "> |1|2|\n" * 10_000,
        ("|a|b|\n|-|-|\n|1|2|\n\n") * 3_000,
    ],
    ids=["columns", "rows", "cell", "header", "bars", "padding", "row", "quoted", "tables"],
)
def test_a_hostile_table_does_not_become_much_longer(text: str) -> None:
    """The result is at most a few times as long as the table."""
    assert len(downgraded(text)) < 3 * len(text)


@given(head=ROWS, body=st.lists(ROWS, max_size=5))
def test_no_cell_is_lost(head: list[str], body: list[list[str]]) -> None:
    """This holds even in rows that are longer than the header."""
    text = table(head, *body)
    missing = list(words(text))
    for word in words(downgraded(text)):
        if word in missing:
            missing.remove(word)
    assert [word for word in missing if word not in {"br", "latex"}] == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("> | a | b |\n> |---|---|\n> | 1 | 2 |", "> ```\n> a  b\n> -  -\n> 1  2\n> ```"),
        ("| a |\n|---|\n| 1 |\nprose", "```\na\n-\n1\n```\nprose"),
        ("| a | b |\n|---|---|\n| 1 | 2 | 3 |", "```\na  b\n-  -  -\n1  2  3\n```"),
        ("| a |\n|---|\n| `<br>` b<br>c |", "```\na\n------------\n`<br>` b / c\n```"),
        ("1. x\n\n   | a |\n   |---|\n   | 1 |", "1. x\n\n   ```\na\n-\n1\n```"),
    ],
)
def test_a_table_is_found_wherever_it_is(text: str, shown: str) -> None:
    """A table can be in quotes and lists or before prose, with rows of any length."""
    assert downgraded(text) == shown
