"""A model's text in Slack pings nobody, links to no unknown host, and is complete."""

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.slack.answer_blocks import PART_CHARS
from bots.slack.markup import (
    defanged,
    drawable,
    escaped,
    escaped_length,
    escaped_within,
    fallback,
    hosts,
)
from tests.fakes.slack_rules import EDIT_LIMIT, PING

KNOWN = frozenset({"good.example"})
PIECES = st.sampled_from(
    ["<", ">", "&", "!channel", "@UBOB", "&lt;", "&amp", "\n", "> ", "```\n", "`", " ", "word", "|",
     "https", "http", ":", "/", "//", "://", "www.", "w", "evil.example", "good.example", "\\", "@",
     "a.good.example", "]", "(", "](", ")", "[x](", "[x]: ", "?q=1", "#", ".", "'", '"', "*", "_",
     "日", "$x_1$", "<br>", "mailto:", "-", "\t", ":8080"]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=40).map("".join)

LINK = re.compile(r"(?i)[a-z][a-z0-9+.\-]*://([^\s<>|)\]\"'`]*)")
"""Finds links like a program that does not parse Markdown."""


@given(TEXTS | st.text())
def test_an_escaped_text_contains_no_slack_markup(text: str) -> None:
    """`<` and `&` appear only as entities, which decode to the original text."""
    shown = escaped(text)
    assert "<" not in shown
    assert not re.search(r"&(?!(?:amp|lt|gt);)", shown)
    assert not PING.search(shown)
    assert all(re.match(r"[ \t>]*\Z", line[:at]) for line in shown.split("\n")
               for at in [line.rfind(">")] if at >= 0)  # fmt: skip
    assert shown.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == text
    assert len(shown) <= escaped_length(text)


@given(TEXTS, st.integers(5, 60))
def test_an_escaped_text_is_cut_between_characters(text: str, limit: int) -> None:
    """A cut is never inside an entity, and the text is never too long."""
    shown = escaped_within(text, limit)
    assert len(shown) <= limit
    assert escaped(text).startswith(shown)
    assert escaped(unescape(shown)).replace("&gt;", ">") == shown.replace("&gt;", ">")


@given(TEXTS.map(lambda text: text * 90))
def test_screen_readers_get_a_whole_part(text: str) -> None:
    """They read only `text`. If it is cut, it ends with a mark. It is short enough for edits."""
    shown = fallback(text)
    assert len(shown) < EDIT_LIMIT
    assert not PING.search(shown)
    if escaped_length(text) <= PART_CHARS:
        assert shown == escaped(text)
    else:
        assert escaped(text).startswith(shown.removesuffix("…"))


@given(TEXTS)
def test_no_link_to_an_unknown_host_remains(text: str) -> None:
    """However a link is written, only its markup is changed."""
    shown = defanged(text, KNOWN)
    for link in LINK.findall(shown):
        host = re.split(r"[/?#:]", link)[0].rstrip("*_.,;!}~@").lower()
        assert not host or host == "good.example" or host.endswith(".good.example")
    assert shown.replace("[:]", ":").replace("[.]", ".").replace("] (", "](").replace(
        "] :", "]:"
    ) == text.replace("] (", "](").replace("] :", "]:")


@given(TEXTS, st.data())
def test_a_growing_text_is_only_ever_extended(text: str, data: st.DataObject) -> None:
    """Every later text begins with the text that was streamed."""
    shorter = text[: data.draw(st.integers(0, len(text)))]
    shown = defanged(shorter, KNOWN, growing=True)
    assert defanged(text, KNOWN, growing=True).startswith(shown)
    assert defanged(text, KNOWN).startswith(shown)


def test_a_growing_text_is_not_held_back_without_need() -> None:
    """Only the possible beginning of a link must be held back."""
    for text in ("A word", "日本語", "x = a[1", "e.g. Node.js", "now", "<b> & &am"):
        assert defanged(text, KNOWN, growing=True) == text


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/?q=secret", "HTTPS://EVIL.example", "ftp://evil.example",
        "https://good.example.evil.example", "https://good.example@evil.example/",
        "https://evil.example\\.good.example", "https://good.example\\.evil.example",
        "https://good.example'.evil.example/", "https://good.example).evil.example",
        "https://evilgood.example", "https://" + "a" * 400 + ".good.example",
        "https://evil.example。good.example", "https://good.example%2eevil.example",
    ],
)  # fmt: skip
def test_an_ambiguous_host_counts_as_unknown(link: str) -> None:
    """Examples are host names with look-alikes, user names, escapes and quotation marks."""
    assert defanged(link, KNOWN) == link.replace("://", "[:]//")
    assert defanged(f"[x]({link})", KNOWN) != f"[x]({link})"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[x](//evil.example/a)", "[x] (//evil.example/a)"),
        ("[x](evil.example)", "[x] (evil.example)"),
        ("[x](https:/evil.example)", "[x] (https:/evil.example)"),
        ("[x](https\\://evil.example)", "[x] (https\\[:]//evil.example)"),
        ("https:\\/\\/evil.example", "https[:]\\/\\/evil.example"),
        ("see www.evil.example/a", "see www[.]evil.example/a"),
        ("> [x]: evil.example", "> [x] : evil.example"),
        ("**https://good.example**, (https://a.good.example:8080/x).", None),
        ("[x](www.good.example) [y](//good.example/z) [z](#part) [m](mailto:a@b.example)", None),
        ("if a[0]: self.run()\nx = [y for y in z]: b.c", None),
    ],
)
def test_links_without_a_scheme_are_made_harmless(text: str, shown: str | None) -> None:
    """Slack might complete them. Known hosts, fragments, addresses and code are unchanged."""
    assert defanged(text, KNOWN) == (shown or text)


def test_the_hosts_of_a_question_are_known() -> None:
    """An answer can link to the hosts in its question."""
    text = "read <https://Mine.example/a|this> and http://b.example:80, not x:// or c.example"
    assert hosts(text) == {"mine.example", "b.example"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("so \\(a_1\\) and $b^2$", "so `a_1` and `b^2`"),
        ("\\[\na^2\n\\]", "```latex\na^2\n```"),
        ("a<br>b", "a\nb"),
        ("| a |\n|---|\n| x<br>$y_1$ |", "| a |\n|---|\n| x / `y_1` |"),
        ("    $x_1$ is code", "    $x_1$ is code"),
        ("#### Deep\n\n- [ ] task\n\n---\n\n![cat](https://x.y/c.png)", None),
        ("| a | b |\n|---|---|\n| 1 | 2 |", None),
        ("It costs $5 or $6.", None),
    ],
)
def test_only_formulas_and_line_breaks_are_changed_for_slack(text: str, shown: str | None) -> None:
    """Tables, headings, rules, tasks and images are unchanged."""
    assert drawable(text) == (shown or text)
