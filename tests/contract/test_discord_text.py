"""Markup that Discord does not draw is replaced: examples, and properties of every text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.discord.access import Asker, refusal
from bots.discord.audience import title_of
from bots.discord.channels import nonce_of
from bots.discord.markup import downgraded
from bots.discord.settings import DiscordSettings
from bots.discord.wording import COMMAND_TEXTS, LANGUAGES, NOTICES
from bots.split_text import split_text, utf16_length

LINES = st.sampled_from(
    ["| a | b |", "|---|---|", "| 1 | `x|y` |", "```python", "```", "~~~", "#### deep", "# top",
     "$$", "x^2", "\\[ y \\]", "- [ ] todo", "---", "***", "![cat](https://x.y/c.png)", "> quote",
     "> ```", "a $x_1$ b", "it costs $5 or $6", "`$x_1$`", "plain words", "", "<br>", "😀 wax"]
)  # fmt: skip
TEXTS = st.lists(LINES, max_size=40).map("\n".join)


def words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("| a | bb |\n|:--|--:|\n| 1 | 2 |", "```\na  bb\n-  --\n1  2\n```"),
        ("a | b\n--- | ---\n1 | 2\n\nafter", "```\na  b\n-  -\n1  2\n```\n\nafter"),
        ("no | table\nhere", "no | table\nhere"),
        ("#### Deep ##", "**Deep**"),
        ("### Fine", "### Fine"),
        ('![cat](https://x.y/c.png "t")', "cat: <https://x.y/c.png>"),
        ("![](https://x.y/c.png)", "<https://x.y/c.png>"),
        ("[https://x.y](https://x.y/)", "https://x.y"),
        ("- [ ] a\n- [x] b", "- ☐ a\n- ☑ b"),
        ("---", "─" * 12),
        ("one<br>two", "one\ntwo"),
        ("$$\nE = mc^2\n$$", "```latex\nE = mc^2\n```"),
        ("\\[ a^2 \\]", "```latex\n a^2 \n```"),
        ("so \\(a_1\\) and $b^2$", "so `a_1` and `b^2`"),
        ("it costs $5 or $6", "it costs $5 or $6"),
        ("`$x_1$` and `![a](b)`", "`$x_1$` and `![a](b)`"),
        ("```\n| a |\n|---|\n#### x\n```", "```\n| a |\n|---|\n#### x\n```"),
    ],
)  # fmt: skip
def test_markup_that_discord_does_not_draw_is_made_readable(text: str, shown: str) -> None:
    """This is about tables, formulas, pictures and deep headings. Code is unchanged."""
    assert downgraded(text) == shown


@given(TEXTS)
def test_no_word_is_lost(text: str) -> None:
    """All words of the model are kept in order."""
    dropped = {"br", "latex"}
    expected = [w for w in words(text) if w not in dropped]
    assert [w for w in words(downgraded(text)) if w not in dropped] == expected


@given(TEXTS)
def test_parts_fit_and_their_fences_are_closed(text: str) -> None:
    """After both steps, each part is within the limit and closes its own fences."""
    for piece in split_text(downgraded(text), 200, length=utf16_length):
        assert utf16_length(piece) <= 200


@given(TEXTS)
def test_downgrading_twice_changes_no_code(text: str) -> None:
    """Text that became code is unchanged by a second pass."""
    once = downgraded(text)
    if "<br>" not in once and "$" not in once and "\\" not in once:
        assert words(downgraded(once)) == words(once)


@given(st.text(min_size=1, max_size=200))
def test_a_nonce_fits_and_is_the_same_for_the_same_key(key: str) -> None:
    """Discord accepts up to 25 characters."""
    assert len(nonce_of(key.encode("utf-8", "replace").decode())) <= 25
    assert nonce_of("a.0") == nonce_of("a.0") != nonce_of("a.1")


@given(st.text(max_size=500))
def test_a_thread_always_has_a_name(text: str) -> None:
    """It has 1 to 100 characters on one line."""
    title = title_of(text)
    assert 1 <= utf16_length(title) <= 200
    assert 1 <= len(title) <= 100
    assert "\n" not in title


def test_every_notice_has_every_language() -> None:
    """No translation is empty."""
    for sayings in NOTICES.values():
        assert len(sayings) == len(LANGUAGES)
        assert all(sayings)
    for name in ("ask", "reset", "privacy", "training", "forget", "help"):
        for translated in COMMAND_TEXTS[name]:
            assert re.fullmatch(r"[-\w]{1,32}", translated)
            assert translated == translated.lower()


# --- access ---------------------------------------------------------------------------------------

HERE = Asker(user=1, guild=10, channels=(100, 101), roles=(1000,))
DIRECT = Asker(user=1, guild=None, channels=(100,), roles=())


@pytest.mark.parametrize(
    ("settings", "asker", "why"),
    [
        ({}, HERE, None),
        ({}, DIRECT, None),
        ({"DISCORD_DENY_GUILDS": "10"}, HERE, "place"),
        ({"DISCORD_ALLOW_GUILDS": "11, 12"}, HERE, "place"),
        ({"DISCORD_ALLOW_GUILDS": "10"}, HERE, None),
        ({"DISCORD_ALLOW_CHANNELS": "101"}, HERE, None),
        ({"DISCORD_ALLOW_CHANNELS": "102"}, HERE, "place"),
        ({"DISCORD_DENY_CHANNELS": "101"}, HERE, "place"),
        ({"DISCORD_ALLOW_USERS": "2"}, HERE, "person"),
        ({"DISCORD_ALLOW_USERS": "2", "DISCORD_ALLOW_ROLES": "1000"}, HERE, None),
        ({"DISCORD_DENY_ROLES": "1000"}, HERE, "person"),
        ({"DISCORD_ALLOW_USERS": "1", "DISCORD_DENY_USERS": "1"}, HERE, "person"),
        ({"DISCORD_DIRECT_MESSAGES": "nobody"}, DIRECT, "direct"),
        ({"DISCORD_DIRECT_MESSAGES": "allowed"}, DIRECT, "direct"),
        ({"DISCORD_DIRECT_MESSAGES": "allowed", "DISCORD_ALLOW_USERS": "1"}, DIRECT, None),
        ({"DISCORD_DIRECT_MESSAGES": "allowed", "DISCORD_ALLOW_ROLES": "1000"},
         Asker(1, None, (), roles=(1000,)), "direct"),
    ],
)  # fmt: skip
def test_access_rules(settings: dict[str, str], asker: Asker, why: str | None) -> None:
    """A denial takes precedence over a permission, and roles do not open direct messages."""
    assert refusal(DiscordSettings.model_validate(settings), asker) == why
