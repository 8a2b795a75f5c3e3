"""No name in a subject becomes a wildcard or another user's subject."""

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared import names, user_names

MOST_PARTITIONS = 256

UNICODE = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
"""Texts without lone surrogates, some of which are too long once they are encoded."""

PLATFORMS = st.from_regex(r"[a-z][a-z0-9]{0,31}", fullmatch=True)
PROMPT_IDS = st.from_regex(r"[A-Za-z0-9_-]{1,200}", fullmatch=True)
TOKEN = re.compile(r"[A-Za-z0-9_-]+")


def token_of(name: str) -> str:
    """The token of a name. Names whose encoding is too long have a test of their own."""
    assume(len(name.encode()) * 3 <= user_names.TOKEN_LENGTH_LIMIT)
    return user_names.encoded(name)


@given(UNICODE)
def test_a_token_decodes_to_its_name(name: str) -> None:
    token = token_of(name)
    assert user_names.decoded(token) == name
    assert user_names.is_token(token)


@given(UNICODE)
def test_a_token_contains_only_allowed_characters(name: str) -> None:
    assert TOKEN.fullmatch(token_of(name))


@given(UNICODE, UNICODE)
def test_different_names_have_different_tokens(one: str, other: str) -> None:
    assert (token_of(one) == token_of(other)) == (one == other)


@given(st.text(st.sampled_from("aZ09-"), min_size=1, max_size=user_names.TOKEN_LENGTH_LIMIT))
def test_a_plain_name_is_its_own_token(name: str) -> None:
    assert user_names.encoded(name) == name


@given(st.text(max_size=30))
def test_only_tokens_that_encoded_returns_are_decoded(token: str) -> None:
    """Every other token is refused."""
    try:
        name = user_names.decoded(token)
    except user_names.BadName:
        return
    assert TOKEN.fullmatch(token)
    assert name.encode().decode() == name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "empty"),
        ("x" * (user_names.TOKEN_LENGTH_LIMIT + 1), "200"),
        ("é" * 34, "200"),  # encoded as 34 times _C3_A9
        ("\ud800", "Unicode"),
        ("a\udfffb", "Unicode"),
    ],
)
def test_a_name_that_no_subject_can_carry_is_refused_with_a_reason(name: str, words: str) -> None:
    with pytest.raises(user_names.BadName, match=words):
        user_names.encoded(name)


def test_the_longest_name_fits() -> None:
    """A name of exactly the maximum length fits, encoded or plain."""
    assert (
        len(user_names.encoded("x" * user_names.TOKEN_LENGTH_LIMIT))
        == user_names.TOKEN_LENGTH_LIMIT
    )
    assert len(user_names.encoded("é" * 33)) == 198


@pytest.mark.parametrize(
    "token",
    ["", "_", "_2", "_2e", "_GG", "a.b", "*", ">", "a b", "é", "_FF", "_C3", "a\n", "x" * 201],
)
def test_an_invalid_token_is_refused(token: str) -> None:
    with pytest.raises(user_names.BadName, match="not an encoded name"):
        user_names.decoded(token)


@pytest.mark.parametrize("platform", ["", "Slack", "1st", "a.b", "*", ">", "a-b", "x" * 33, "a\n"])
def test_an_invalid_platform_is_refused(platform: str) -> None:
    with pytest.raises(user_names.BadName, match="platform"):
        user_names.user_of(platform, "ada")
    with pytest.raises(user_names.BadName):
        user_names.split_user(f"{platform}:ada")


@pytest.mark.parametrize(
    "user", ["", ":", "slack", "slack:", ":ada", "slack:a:b", "slack:a.b", "slack:*", "slack:a\n"]
)
def test_an_invalid_user_is_refused_by_every_subject(user: str) -> None:
    for subject in (
        lambda: names.prompt_subject(user),
        lambda: names.reply_subject(user, "p"),
        lambda: names.partial_subject(user, "p"),
    ):
        with pytest.raises(user_names.BadName):
            subject()


@given(PLATFORMS, UNICODE, PROMPT_IDS)
def test_subjects_have_no_wildcards_and_no_extra_dots(
    platform: str, name: str, prompt_id: str
) -> None:
    token_of(name)
    user = user_names.user_of(platform, name)
    for subject, depth in (
        (names.prompt_subject(user), 3),
        (names.reply_subject(user, prompt_id), 4),
        (names.partial_subject(user, prompt_id), 4),
    ):
        tokens = subject.split(".")
        assert len(tokens) == depth
        assert all(TOKEN.fullmatch(token) for token in tokens)


@given(PLATFORMS, UNICODE, st.integers(0, MOST_PARTITIONS - 1))
def test_a_stored_subject_names_its_user(platform: str, name: str, partition: int) -> None:
    token_of(name)
    user = user_names.user_of(platform, name)
    stored = names.prompt_subject(user).replace("prompts.", f"p.{partition}.", 1)
    assert names.user_of_stored(stored) == user
    assert stored.startswith(names.stored_prompts(partition).removesuffix(">"))


@pytest.mark.parametrize(
    "subject", ["", "p.1.slack", "p.1.slack.a.b", "q.1.slack.ada", "p.1.Slack.ada", "p.1.slack._"]
)
def test_an_invalid_stored_subject_is_refused(subject: str) -> None:
    with pytest.raises(user_names.BadName):
        names.user_of_stored(subject)


@pytest.mark.parametrize(
    ("subject", "sender"),
    [
        ("prompts", "prompts"),
        ("p.3.slack.T1", "p.3.slack.T1"),
        ("replies.slack.T1.slack-1", "replies.slack.T1"),
    ],
)
def test_a_subject_identifies_the_sender(subject: str, sender: str) -> None:
    """The sender is the subject without the part that differs between messages."""
    assert names.sender_of(subject) == sender
