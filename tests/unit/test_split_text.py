"""Splitting a text loses and breaks nothing, keeps finished parts, and respects the limit."""

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from bots.split_text import Length, split_text, utf16_length

GUARD = "\u200b"
"""The splitter can insert this before the continuation of a line that was cut."""

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
PIECES = [
    *["`", "```", "````", "~~~", "~", ">", "> ", "- ", "1. ", "    ", "|", "#", " ", "\n", "\n\n"],
    *[
        "\r\n",
        "\r",
        "```py\n",
        "```\n",
        "~~~\n",
        "> ```\n",
        "- ```js\n",
        "word",
        "Eine Sache. ",
        "ä",
    ],
    *[
        "e\u0301",
        FAMILY,
        "\U0001f1e9\U0001f1ea",
        "👍🏽",
        "日本語。",
        "x" * 30,
        "```a`b",
        "\t",
        GUARD,
    ],
]
wild_texts = st.lists(st.sampled_from(PIECES), max_size=60).map("".join) | st.text(max_size=200)
limits = st.integers(1, 120)
lengths = st.sampled_from([len, utf16_length])


@st.composite
def blocks(draw: st.DrawFn) -> str:
    """A block of Markdown as a model would write it."""
    words = st.lists(st.sampled_from(["one", "two,", "three.", "`code`", "日本。"]), min_size=1)
    line = words.map(" ".join)
    kind = draw(st.sampled_from(["text", "fence", "quoted", "item", "table", "title"]))
    if kind == "text":
        return "\n".join(draw(st.lists(line, min_size=1, max_size=4)))
    if kind == "title":
        return "## " + draw(line)
    if kind == "table":
        return "| a | b |\n|---|---|\n" + "\n".join(
            f"| {n} | {draw(line)} |" for n in range(draw(st.integers(1, 6)))
        )
    marker = draw(st.sampled_from(["```", "````", "~~~", "~~~~~"]))
    other = "~~~" if marker[0] == "`" else "```"
    code_line = st.sampled_from(
        ["x = 1", "", "  indented", "#" * 50, other, f"{marker} not closing", "a b c " * 20]
    )
    code = draw(st.lists(code_line, max_size=12))
    info = draw(st.sampled_from(["", "py", " python title=x", "long " * 12]))
    before = {"fence": "", "quoted": "> ", "item": "  "}[kind]
    rows = [f"{before}{row}" for row in [marker + info, *code, marker]]
    if kind == "item":
        rows[0] = f"- {marker}{info}"
    return "\n".join(rows)


documents = st.lists(blocks(), max_size=8).map("\n\n".join)


def rejoins(text: str, parts: list[str]) -> bool:
    """Whether the parts, without added lines and marks, make up the text except at trimmed ends."""
    reached = {0}
    for part in parts:
        lines = part.split("\n")
        bodies: set[str] = set()
        for first in (0, 1):
            for last in (0, 1):
                body = "\n".join(lines[first : len(lines) - last])
                marks = len(body) - len(body.lstrip("> "))
                for bare in (body[mark:] for mark in range(marks + 1)):
                    bodies |= {bare, bare.removeprefix(GUARD)}
        reached = {
            start + len(body)
            for at in reached
            for start in starts_after(text, at)
            for body in bodies
            if text.startswith(body, start)
        }
    return any(not text[at:].strip() for at in reached)


def starts_after(text: str, at: int) -> list[int]:
    """All positions that only white space separates from `at`."""
    places = [at]
    while places[-1] < len(text) and text[places[-1]].isspace():
        places.append(places[-1] + 1)
    return places


def code_lines(markdown: str) -> list[tuple[str, str]]:
    """The language and text of each line of fenced code, as CommonMark reads it."""
    found: list[tuple[str, str]] = []
    for token in MarkdownIt().parse(markdown):
        if token.type == "fence":
            language = token.info.strip()
            found += [
                (language if len(language) <= 20 else "", line)
                for line in token.content.split("\n")[:-1]
            ]
    return found


def fences_left_open(markdown: str) -> int:
    """The number of fences that only the end of the text closes."""
    lines = markdown.split("\n")
    return sum(
        1
        for token in MarkdownIt().parse(markdown)
        if token.type == "fence"
        and token.map
        and (
            token.map[1] - token.map[0] < 2
            or lines[token.map[1] - 1].lstrip("> ").rstrip().strip(token.markup[0])
            or len(lines[token.map[1] - 1].lstrip("> ").rstrip()) < len(token.markup)
        )
    )


@given(text=wild_texts, limit=limits, length=lengths)
@settings(max_examples=600)
def test_nothing_is_lost(text: str, limit: int, length: Length) -> None:
    """Without additions, the parts make up the text except for white space at breaks."""
    assert rejoins(text, split_text(text, limit, length=length))


@given(text=wild_texts, limit=st.integers(2, 120), length=lengths)
@settings(max_examples=600)
def test_no_part_is_over_the_limit(text: str, limit: int, length: Length) -> None:
    """Every part fits, measured in the platform's unit, and is not blank."""
    for part in split_text(text, limit, length=length):
        assert length(part) <= limit
        assert part.strip()


@given(text=wild_texts, limit=limits, length=lengths, data=st.data())
@settings(max_examples=1000)
def test_a_growing_text_never_changes_a_finished_part(
    text: str, limit: int, length: Length, data: st.DataObject
) -> None:
    """All parts except the last stay the same when the text grows."""
    shorter = text[: data.draw(st.integers(0, len(text)))]
    finished = split_text(shorter, limit, length=length)[:-1]
    assert split_text(text, limit, length=length)[: len(finished)] == finished


@given(text=documents, limit=st.integers(80, 400))
@settings(max_examples=400)
def test_documents_keep_their_code(text: str, limit: int) -> None:
    """Every part closes its fences, and together they have the same code in the same language."""
    parts = split_text(text, limit)
    assert [fences_left_open(part) for part in parts] == [0] * len(parts)
    assert rejoins(text, parts)
    code = [line for part in parts for line in code_lines(part)]
    joined = "".join(word for _, line in code for word in line.split())
    assert joined == "".join(word for _, line in code_lines(text) for word in line.split())
    assert {language for language, _ in code} <= {language for language, _ in code_lines(text)}


@given(text=documents, limit=st.integers(80, 400), data=st.data())
@settings(max_examples=300)
def test_a_growing_document_never_changes_a_finished_part(
    text: str, limit: int, data: st.DataObject
) -> None:
    """This holds for Markdown that models write, cut off anywhere."""
    shorter = text[: data.draw(st.integers(0, len(text)))]
    finished = split_text(shorter, limit)[:-1]
    assert split_text(text, limit)[: len(finished)] == finished


@pytest.mark.parametrize(
    "grapheme",
    ["e\u0301\u0323", FAMILY, "👍🏽", "\U0001f1e9\U0001f1ea", "❤\ufe0f", "1\ufe0f\u20e3"],
)
def test_a_grapheme_is_never_cut(grapheme: str) -> None:
    """Accents, joined emoji, skin tones, flags and keycaps stay whole in a text without spaces."""
    text = grapheme * 400
    for limit in range(10, 40):
        parts = split_text(text, limit, length=utf16_length)
        assert "".join(parts) == text
        assert {part.replace(grapheme, "") for part in parts} == {""}


def test_it_breaks_at_a_paragraph_first() -> None:
    """A paragraph is preferred to a later line, sentence or word."""
    text = f"{'a ' * 20}\n\n{'b ' * 10}\n{'c. ' * 10}"
    assert split_text(text, 80)[0] == ("a " * 20).strip()


def test_it_breaks_at_a_line_next() -> None:
    """This applies if no paragraph ends in the part."""
    assert split_text(f"{'a ' * 20}\n{'b. ' * 20}", 80)[0] == ("a " * 20).strip()


def test_it_breaks_at_a_sentence_next() -> None:
    """This applies if no line ends in the part."""
    assert split_text("One two three. Four five six seven", 24)[0] == "One two three."


def test_it_breaks_at_a_word_next() -> None:
    """This applies if no sentence ends in the part."""
    assert split_text("one two three four five six seven", 20) == [
        "one two three four",
        "five six seven",
    ]


def test_a_short_first_paragraph_is_not_a_part_of_its_own() -> None:
    """If possible, a part is at least a third full."""
    parts = split_text(f"Yes.\n\n{'This is a sentence. ' * 20}", 100)
    assert parts[0].startswith("Yes.\n\nThis is a sentence.")


def test_a_title_stays_with_its_text() -> None:
    """A title at the end of a part would be separated from its text."""
    parts = split_text(f"{'a ' * 30}\n\n## Title\n{'b ' * 40}", 100)
    assert parts[1].startswith("## Title\nb b")


def test_a_cut_fence_is_closed_and_reopened() -> None:
    """Code that is longer than a part continues in the next one with the same language."""
    code = "\n".join(f"line {n}" for n in range(40))
    parts = split_text(f"Look:\n\n```python\n{code}\n```\nDone.", 120)
    assert len(parts) > 3
    for part in parts[1:-1]:
        assert part.startswith("```python\n")
        assert part.endswith("\n```")
    assert "\n".join(line for part in parts for _, line in code_lines(part)) == code


def test_a_fence_that_does_not_fit_begins_a_part() -> None:
    """Code that fits into one part is not cut because of the prose before it."""
    code = "```\n" + "x\n" * 30 + "```"
    assert split_text(f"{'word ' * 12}\n\n{code}", 100) == [("word " * 12).strip(), code]


def test_an_unfinished_fence_is_closed() -> None:
    """An answer that was stopped inside code still appears as code."""
    assert split_text("See:\n```js\nlet a", 2000) == ["See:\n```js\nlet a\n```"]


def test_a_shorter_or_different_marker_does_not_close_a_fence() -> None:
    """Inside four backticks, three backticks and tildes are code."""
    text = "````md\n```\n~~~\n" + "text\n" * 30 + "````\nafter"
    parts = split_text(text, 100)
    assert all(part.count("````") == 2 for part in parts[:-1])
    assert fences_left_open("\n".join(parts)) == 0


def test_a_code_line_longer_than_a_part_is_cut_inside_the_fence() -> None:
    """The line stays code on both sides of the cut, and nothing is trimmed."""
    parts = split_text("```\n" + "ab cd " * 100 + "\n```", 80)
    joined = "".join(line for part in parts for _, line in code_lines(part))
    assert joined == "ab cd " * 100


def test_windows_line_ends_are_recognized() -> None:
    """A carriage return does not hide a closing fence, and is not separated from its line feed."""
    parts = split_text("```py\r\n" + "code\r\n" * 40 + "```\r\nprose " * 2, 90)
    assert all(not a.endswith("\r") and not b.startswith("\n") for a, b in pairwise(parts))
    assert fences_left_open(parts[-1].replace("\r", "")) == 0
    assert parts[-1].endswith("prose\n```") or parts[-1].endswith("prose")


@pytest.mark.parametrize("blank", ["", " ", "\n\n", "\t\r\n " * 3000])
def test_a_blank_text_has_no_parts(blank: str) -> None:
    """Nothing is posted for it."""
    assert split_text(blank, 100) == []


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_must_be_positive(limit: int) -> None:
    """Other limits are programming errors."""
    with pytest.raises(ValueError, match="positive"):
        split_text("text", limit)


def test_splitting_with_a_limit_of_one_ends() -> None:
    """Every character becomes a part, even one that exceeds the limit."""
    assert split_text("ab 😀", 1, length=utf16_length) == ["a", "b", "😀"]


@pytest.mark.parametrize(
    "text",
    [
        "`" * 40_000,
        " " * 40_000 + "x",
        "a" * 40_000,
        "> " * 20_000,
        "\n" * 40_000 + "x",
        "~ " * 20_000,
        "```\n" + "y" * 40_000,
        "e" + "\u0301" * 40_000,
        "```" + "info" * 10_000,
        "- " * 20_000,
    ],
    ids=lambda text: repr(text[:6]),
)
def test_extreme_texts_are_split(text: str) -> None:
    """No text causes an endless loop, lost letters or thousands of parts."""
    parts = split_text(text, 2000, length=utf16_length)
    assert len(parts) < 80
    assert all(utf16_length(part) <= 2000 for part in parts)
    letters = [c for c in "".join(parts) if unicodedata.category(c)[0] in "LM"]
    assert len(letters) >= sum(unicodedata.category(c)[0] in "LM" for c in text)


def test_a_long_answer_is_split_into_few_parts() -> None:
    """The answer has 40,000 characters with code and tables."""
    table = "| a | b |\n|---|---|\n" + "| cell | another 😀 cell |\n" * 40
    code = "```python\n" + "    value = compute(1, 2)\n" * 60 + "```\n"
    text = (f"## Title\n\n{'A sentence of words. ' * 40}\n\n{table}\n{code}\n" * 20)[:40_000]
    parts = split_text(text, 2000, length=utf16_length)
    assert all(fences_left_open(part) == 0 for part in parts)
    assert len(parts) < 45
