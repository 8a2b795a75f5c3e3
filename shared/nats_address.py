"""Parses NATS_URL into servers and credentials, and into a form that is safe to show.

Pure. It must never put a password into a text: people and logs get `shown`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

PORT: Final = 4222
EMBEDDED: Final = "embedded:"
"""The prefix of a file name; a running embedded server writes its address to that file."""

UNREADABLE: Final = "an address that cannot be read"

_SCHEMES: Final = ("nats", "tls", "ws", "wss")
_HINT: Final = (
    "write it as nats://user:password@host:port, and in the password @ as %40, / as %2F, : as %3A, "
    "# as %23, ? as %3F, comma as %2C and % as %25"
)


class BadAddress(ValueError):
    """The address cannot be used; the text says why without quoting it."""


@dataclass(frozen=True, slots=True)
class Address:
    """One NATS server, or several of a cluster, and our credentials there."""

    servers: tuple[str, ...]
    """Without credentials."""
    shown: str
    user: str | None = None
    password: str | None = None
    token: str | None = None
    name: str = ""
    """The name that an embedded server must have; empty: any name."""

    @property
    def is_anonymous(self) -> bool:
        """Whether there are no credentials."""
        return self.user is None and self.token is None

    def options(self) -> dict[str, Any]:
        """Arguments for nats-py's `connect`, which does not decode a password in a URL."""
        return {
            "servers": list(self.servers),
            "user": self.user,
            "password": self.password,
            "token": self.token,
        }


def address_of(url: str) -> Address:
    """Parses a NATS_URL, whose servers are separated by commas and share their credentials.

    Raises:
        BadAddress: it cannot be read.
    """
    parts = [_split(server.strip()) for server in url.split(",") if server.strip()]
    if not parts:
        raise BadAddress(f"it names no server: {_HINT}")
    if len({part.scheme in {"ws", "wss"} for part in parts}) > 1:
        raise BadAddress("WebSocket addresses (ws, wss) and others cannot be mixed: use one kind")
    credentials = {(part.username, part.password) for part in parts if part.username is not None}
    if len(credentials) > 1:
        raise BadAddress(
            "its servers have different users or passwords: servers of one cluster share them"
        )
    user, password = credentials.pop() if credentials else (None, None)
    servers = tuple(f"{part.scheme}://{_netloc(part)}" for part in parts)
    shown = ", ".join(_netloc(part) for part in parts)
    name = parts[0].fragment
    if user is not None and password is None:
        return Address(servers, shown, token=unquote(user), name=name)
    return Address(
        servers,
        shown,
        unquote(user) if user is not None else None,
        unquote(password) if password is not None else None,
        name=name,
    )


def without_credentials(url: str) -> str:
    """An address in a form that is safe to show."""
    if url.startswith(EMBEDDED):
        return f"the data folder {Path(url.removeprefix(EMBEDDED)).parent.parent}"
    try:
        if urlsplit(url).scheme in {"http", "https"}:
            return _netloc(urlsplit(url))
        return address_of(url).shown
    except ValueError:
        return UNREADABLE


def _split(server: str) -> SplitResult:
    try:
        parts = urlsplit(server if "://" in server else f"nats://{server}")
        port, host = parts.port, parts.hostname
    except ValueError:  # for example, a slash in the password makes the rest of it look like a port
        raise BadAddress(f"it cannot be read: {_HINT}") from None
    if parts.scheme not in _SCHEMES:
        raise BadAddress(f"it does not begin with nats:// (or tls://, ws://, wss://): {_HINT}")
    if not host or port == 0 or any(character.isspace() for character in server):
        raise BadAddress(f"it names no host: {_HINT}")
    if parts.netloc.count("@") > 1:
        raise BadAddress(f"the password has an @ in it: {_HINT}")
    if parts.path.strip("/") or parts.query:
        raise BadAddress(f"something follows the port: {_HINT}")
    return parts


def _netloc(parts: SplitResult) -> str:
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    default = {"ws": 80, "http": 80, "wss": 443, "https": 443}.get(parts.scheme, PORT)
    return f"{shown}:{parts.port or default}"
