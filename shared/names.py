"""Subject names and the tokens in them.

Pure. A subject is built here and nowhere else, so that no user's name can ever become a wildcard
or another user's subject.
"""

import re
from typing import Final

TOKEN_LENGTH_LIMIT: Final = 200
"""Characters in one encoded token: far below the server's 4 KB control line."""

PARTITIONS: Final = 16
"""Partitions of the prompt stream. Fixed for ever: another number would move users between them."""

PROMPTS: Final = "PROMPTS"
REPLIES: Final = "REPLIES"
DLQ: Final = "DLQ"
ADVISORIES: Final = "ADVISORIES"

GATEWAY_SUBJECT: Final = "prompts"
"""Where any NATS client asks, by plain request and reply."""

GUESTS_SUBJECT: Final = "prompts.guest"
"""Where the server itself puts the requests of clients without credentials. No client may publish
there, so what arrives is attested. Two tokens: the stream of events takes three."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9-]")
_TOKEN: Final = re.compile(rf"(?:[A-Za-z0-9-]|_[0-9A-F]{{2}}){{1,{TOKEN_LENGTH_LIMIT}}}")
_PLATFORM: Final = re.compile(r"[a-z][a-z0-9]{0,31}")
_USER: Final = re.compile(rf"({_PLATFORM.pattern}):({_TOKEN.pattern})")

_TOO_LONG: Final = f"a name must not take more than {TOKEN_LENGTH_LIMIT} encoded characters"


class BadName(ValueError):
    """A name that no subject can carry."""


def encoded(name: str) -> str:
    """One subject token of `[A-Za-z0-9_-]` for any name; `decoded` gives the name back.

    A character outside `[A-Za-z0-9-]` becomes `_` and two hexadecimal digits for each of its
    UTF-8 bytes.

    Raises:
        BadName: the name is empty, too long, or no valid Unicode.
    """
    if not name:
        raise BadName("a name must not be empty")
    if len(name) > TOKEN_LENGTH_LIMIT:
        raise BadName(_TOO_LONG)
    try:
        token = "".join(
            c if _PLAIN.fullmatch(c) else "".join(f"_{b:02X}" for b in c.encode()) for c in name
        )
    except UnicodeEncodeError as error:
        raise BadName("a name must be valid Unicode") from error
    if len(token) > TOKEN_LENGTH_LIMIT:
        raise BadName(_TOO_LONG)
    return token


def decoded(token: str) -> str:
    """The name that `encoded` turned into this token.

    Raises:
        BadName: the token is not one that `encoded` makes.
    """
    if not is_token(token):
        raise BadName(f"not an encoded name: {token[:40]!r}")
    raw = re.sub(rb"_([0-9A-F]{2})", lambda m: bytes([int(m[1], 16)]), token.encode())
    try:
        name = raw.decode()
    except UnicodeDecodeError as error:
        raise BadName(f"not an encoded name: {token[:40]!r}") from error
    if encoded(name) != token:
        raise BadName(f"not an encoded name: {token[:40]!r}")
    return name


def is_token(text: str) -> bool:
    """Whether the text can stand as one token of a subject and be decoded."""
    return _TOKEN.fullmatch(text) is not None


def user_of(platform: str, name: str) -> str:
    """The user `<platform>:<token>` for the platform's own name of a person.

    Raises:
        BadName: the platform or the name cannot be part of a subject.
    """
    if not _PLATFORM.fullmatch(platform):
        raise BadName(f"not a platform's name: {platform[:40]!r}")
    return f"{platform}:{encoded(name)}"


def split_user(user: str) -> tuple[str, str]:
    """Platform and token of a user.

    Raises:
        BadName: it is not `<platform>:<token>`.
    """
    found = _USER.fullmatch(user)
    if found is None:
        raise BadName("a user is <platform>:<token>")
    return found[1], found[2]


def prompt_subject(user: str) -> str:
    """Where an adapter publishes a user's events."""
    platform, token = split_user(user)
    return f"prompts.{platform}.{token}"


def stored_prompts(partition: int) -> str:
    """The filter for one partition of the stored events, after the server's transform."""
    return f"p.{partition}.>"


def user_of_stored(subject: str) -> str:
    """The user of a stored event's subject `p.<n>.<platform>.<token>`.

    Raises:
        BadName: the subject is not of that form.
    """
    parts = subject.split(".")
    if len(parts) != 4 or parts[0] != "p":  # noqa: PLR2004
        raise BadName(f"not a stored prompt's subject: {subject[:100]!r}")
    user = f"{parts[2]}:{parts[3]}"
    split_user(user)
    return user


def reply_subject(user: str, prompt_id: str) -> str:
    """The one subject of one answer, which the journal fills once."""
    platform, token = split_user(user)
    return f"replies.{platform}.{token}.{prompt_id}"


def partial_subject(user: str, prompt_id: str) -> str:
    """Where an answer shows while it grows."""
    platform, token = split_user(user)
    return f"partials.{platform}.{token}.{prompt_id}"


def sender_of(subject: str) -> str:
    """Whose message came on this subject: the part up to the user's token, without a prompt id."""
    tokens = subject.split(".")
    return ".".join(tokens[: 4 if tokens[0] == "p" else 3])


def dead_letter_subject(subject: str) -> str:
    """Where a message goes that nobody can read, by the subject on which it came."""
    return f"dlq.{subject}"
