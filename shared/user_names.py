"""Encodes any name as one token of a subject, and a person as `<platform>:<token>`.

Pure.
"""

import re
from typing import Final

TOKEN_LENGTH_LIMIT: Final = 200
"""Characters in one encoded token: far below the server's 4 KB control line."""

_ESCAPED: Final = re.compile(r"[^A-Za-z0-9-]+")
_TOKEN: Final = re.compile(rf"(?:[A-Za-z0-9-]|_[0-9A-F]{{2}}){{1,{TOKEN_LENGTH_LIMIT}}}")
_PLATFORM: Final = re.compile(r"[a-z][a-z0-9]{0,31}")
_USER: Final = re.compile(rf"({_PLATFORM.pattern}):({_TOKEN.pattern})")

_TOO_LONG: Final = f"a name must not take more than {TOKEN_LENGTH_LIMIT} encoded characters"


class BadName(ValueError):
    """A name that cannot be part of a subject."""


def encoded(name: str) -> str:
    """One subject token of `[A-Za-z0-9_-]` for any name; `decoded` returns the name.

    A character outside `[A-Za-z0-9-]` becomes `_` and two hexadecimal digits for each of its
    UTF-8 bytes.

    Raises:
        BadName: the name is empty, too long, or not valid Unicode.
    """
    if not name:
        raise BadName("a name must not be empty")
    if len(name) > TOKEN_LENGTH_LIMIT:
        raise BadName(_TOO_LONG)
    try:
        token = _ESCAPED.sub(lambda found: "".join(f"_{b:02X}" for b in found[0].encode()), name)
    except UnicodeEncodeError as error:
        raise BadName("a name must be valid Unicode") from error
    if len(token) > TOKEN_LENGTH_LIMIT:
        raise BadName(_TOO_LONG)
    return token


def decoded(token: str) -> str:
    """The name that `encoded` turned into this token.

    Raises:
        BadName: `encoded` never returns this token.
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
    """Whether the text can be one encoded token of a subject."""
    return _TOKEN.fullmatch(text) is not None


def user_of(platform: str, name: str) -> str:
    """The user `<platform>:<token>` for a platform's own name of a person.

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
