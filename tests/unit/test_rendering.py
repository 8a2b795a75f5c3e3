"""Markup that a platform does not draw is replaced; other text stays as the model wrote it."""

import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bots.code_fence import opened_by
from bots.discord.markup import downgraded

PIECES = st.sampled_from(
    ["word", " ", "\n", "\n\n", "> ", "- ", "1. ", "    ", "\t", "```", "```py\n", "~~~\n", "`",
     "``", "$", "$$", "\\(", "\\)", "\\[", "\\]", "\\", "x_1", "|", "|---|\n", "| a | b |\n", "---",
     "===\n", "***", "#### ", "## ", " ##", "[ ] ", "[x] ", "![", "[", "](", ")", "<br>", "<", ">",
     "https://x.y", "![a](b)", "[c](d)", "\r\n", "\r", "\0", "é", "日本", "😀", "&amp;", '"t"']
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=40).map("".join)


def letters(text: str) -> Counter[str]:
    """The letters that people read, without markup; the `x` of a task becomes a tick."""
    return Counter(re.sub(r"<br>|latex|\"t\"|\[[xX]\] |[\W_]", "", text))


@given(TEXTS)
@settings(max_examples=600)
def test_no_letter_is_lost_whatever_the_markup(text: str) -> None:
    """The texts include incomplete tables, unclosed formulas and nested brackets."""
    assert not letters(text) - letters(downgraded(text))


@given(TEXTS)
@settings(max_examples=400)
def test_fenced_code_is_untouched(text: str) -> None:
    """All fenced blocks are in the result, unchanged and in order."""
    shown = downgraded(text)
    at = 0
    for block in fenced(text.replace("\r\n", "\n").replace("\r", "\n")):
        at = shown.find(block, at) + len(block)
        assert at >= len(block)


def fenced(text: str) -> list[str]:
    """The fenced blocks of a text, by the rules of the platforms."""
    found: list[list[str]] = []
    fence = None
    for line in text.split("\n"):
        if fence is not None and not fence.holds(line):
            fence = None
        if fence is None:
            fence = opened_by(line)
            if fence is not None:
                found.append([line])
            continue
        found[-1].append(line)
        if fence.closes(line):
            fence = None
    return ["\n".join(block) for block in found]


@pytest.mark.parametrize(
    "text",
    [
        "- ```js\ncode | x\n---|---\n$x_1$\n```",
        "> ```\n> #### x\n> ```",
        "`` a ` $x_1$ ``",
        "`$x_1$\n$y_1$`",
        "\\$x_1$ and \\![a](b)",
        "costs $5, $6 and $7_000",
        "a $ b_1 $ c",
        "$HOME/$USER_NAME",
        "[text](https://x.y)",
        "[https://x.y](https://other.z)",
        '[https://x.y](https://x.y "words")',
        "[ref]: https://x.y\n\n[ref]",
        "a <b> <brand> < br>",
        "no | table",
        "| a | b |\n|---|\n| 1 |",
        "Title\n-",
        "[[[[[[![a](b",
        "**bold** _it_ ~~gone~~ ||spoiler|| -# small\n- a\n  - b\n1. c\n> q",
        "\\[ never closed\n\\[\nnor this",
        "$$\nnever closed",
    ],
)
def test_markup_that_the_platform_draws_is_unchanged(text: str) -> None:
    """Code, prices, shell variables, links and cut-off markup are unchanged as well."""
    assert downgraded(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("> so $x_1$\n> and $y_1$", "> so `x_1`\n> and `y_1`"),
        ("> a<br>b", "> a\n> b"),
        ("- [ ] $x_1$\n  - [X] b", "- ☐ `x_1`\n  - ☑ b"),
        ("so $$a=b$$ holds", "so `a=b` holds"),
        ("> $$\n> a\n> $$", "> ```latex\n> a\n> ```"),
        ("$$a = b$$", "```latex\na = b\n```"),
        ("Title\n=====\ntext", f"Title\n{'─' * 12}\ntext"),
        ("text\n\n* * *\n", f"text\n\n{'─' * 12}\n"),
        ("##### **Deep** $x_1$", "**Deep** `x_1`"),
        ("#### C# and F#", "**C# and F#**"),
        ("![a [b] c](<https://x.y/a b> 'title')", "a [b] c: <https://x.y/a b>"),
        ("[![a](b)](c)", "[a: <b>](c)"),
        ("![a](https://x.y/(z))", "a: <https://x.y/(z)>"),
        ("a\r\n\r\n---\r\nb", f"a\n\n{'─' * 12}\nb"),
        ("> ```\n> x\n#### out", "> ```\n> x\n**out**"),
        ("1. a\n```\nx\n```\n   - [ ] b", "1. a\n```\nx\n```\n   - ☐ b"),
        ("$" + "a" * 2_000 + "_$ $x_1$", "$" + "a" * 2_000 + "_$ `x_1`"),
    ],
)
def test_other_markup_is_replaced_in_place(text: str, shown: str) -> None:
    """This works in quotes, in lists and within lines. Each line keeps its quote mark."""
    assert downgraded(text) == shown


def test_a_long_answer_is_shown_like_a_short_one() -> None:
    """A long answer is parsed in pieces, which must not be visible."""
    block = "## Title\n\n- [ ] $x_1$\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```py\nx = 1\n```\n\n"
    assert downgraded(block * 200) == downgraded(block) * 200


@pytest.mark.parametrize("letters", [7_000, 9_000])
def test_an_extremely_long_paragraph_is_unchanged(letters: int) -> None:
    """A block of brackets is unchanged, too, but not the text after it."""
    long = f"$x_1$ {'a' * letters}"
    shown = downgraded(f"{long}\n\n{'[' * 200}![a](b)\n\n$y_1$")
    assert shown.endswith(f"{'[' * 200}![a](b)\n\n`y_1`")
    assert shown.startswith("`x_1`") is (letters < 8_000)
