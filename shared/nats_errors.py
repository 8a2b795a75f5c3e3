"""Explains why a NATS server cannot be used, in plain words, and whether waiting can help.

Pure. It must never show credentials.
"""

import socket
import ssl
from dataclasses import dataclass
from typing import Any, Final

from shared.nats_address import Address

OLDEST: Final = (2, 12)
"""The first version with atomic batches (`group_commit.py`)."""

EMBEDDED_NAME: Final = "threadwax-"
"""The beginning of an embedded server's name; older versions used `_OLD_NAME` for all."""

_OLD_NAME: Final = "threadwax"

_START: Final = "Start one with `threadwax up` or `threadwax nats`, or set NATS_URL."
_CREDENTIALS: Final = (
    "Set NATS_URL to nats://user:password@host:port, with special characters in the password "
    "percent-encoded (@ is %40)."
)
_REFUSALS: Final = ("authorization violation", "authentication expired", "authentication revoked")


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a server cannot be used, and what to do.

    `final`: waiting cannot help until a person changes something, so the process should end.
    """

    why: str
    remedy: str
    final: bool = False


class UnfitServer(OSError):
    """A server that must not be used. Raised before any credentials are sent to it."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.why)
        self.fault = fault


def unfit(info: dict[str, Any], address: Address, scheme: str) -> Fault | None:
    """Why a server that sent this INFO must not get our credentials; None if it may."""
    name = str(info.get("server_name", ""))
    if address.name and name not in {address.name, _OLD_NAME}:
        return Fault(
            "another server has taken the port of this data folder's server",
            "Start that one again with `threadwax up` or `threadwax nats`: it takes a free port.",
        )
    if scheme == "tls" and not info.get("tls_required"):
        return Fault(
            "NATS_URL begins with tls:// but this server does not offer TLS",
            "Enable TLS in the server, or use nats:// if the network is private.",
            final=True,
        )
    if address.is_anonymous and name.startswith(EMBEDDED_NAME):
        return Fault(
            "it is the embedded server of a data folder, and NATS_URL lacks its password",
            "Remove NATS_URL to use the server of your own data folder, or set it to the line in "
            "the file nats/url of that folder, which includes the password.",
            final=True,
        )
    version = str(info.get("version", "")).lstrip("v").split(".")
    if version[0].isdecimal() and tuple(int(v) for v in version[:2] if v.isdecimal()) < OLDEST:
        return Fault(
            f"it is nats-server {info['version']}, and {OLDEST[0]}.{OLDEST[1]} is needed",
            "Upgrade the server.",
            final=True,
        )
    return None


def fault_of(error: BaseException, address: Address) -> Fault:  # noqa: PLR0911  (a table)
    """Why an attempt to connect failed."""
    text = str(error).lower()
    if isinstance(error, UnfitServer):
        return error.fault
    if any(refusal in text for refusal in _REFUSALS):
        return _credentials_refused(address)
    if isinstance(error, ssl.SSLError):
        return _tls(error)
    if isinstance(error, socket.gaierror | UnicodeError):  # a label over 63 characters
        return Fault("its host name is unknown", "Is the host in NATS_URL spelled correctly?")
    if isinstance(error, TimeoutError):
        return Fault(
            "it does not answer in time",
            "Is that machine running, does a firewall let you through, and is this the port for "
            "NATS clients (4222 by default)?",
        )
    if "info" in text:
        return Fault(
            "the program on that port is not a NATS server, or is just starting",
            "Is this NATS's client port (4222 by default)?",
        )
    if "maximum" in text and "connections" in text:
        return Fault("it accepts no more connections", "Raise its limit, or stop other clients.")
    # asyncio reports failures at several addresses as one OSError with this text.
    refused = isinstance(error, ConnectionError) or "connect call failed" in text
    if isinstance(error, OSError) and not refused:
        return Fault(f"it cannot be reached ({error.strerror or error})", "Is the network up?")
    return Fault("nobody answers there", _START)


def not_allowed(error: str, address: Address) -> Fault:
    """The server denies what every process of this role needs; `error` is its own text."""
    whose = f"the user {address.user!r}" if address.user else "this client"
    return Fault(
        f"it denies {whose} a permission that this process needs ({error.removeprefix('nats: ')})",
        "Allow it in the server's configuration (deploy/nats-server.conf shows what each role "
        "needs), or use another user in NATS_URL.",
        final=True,
    )


NOT_RUNNING: Final = Fault(
    "it is not running",
    "Start it with `threadwax up` or `threadwax nats`, or set NATS_URL to another server.",
)

NO_JETSTREAM: Final = Fault(
    "it has no JetStream, or this user's account has none",
    "Start nats-server with -js, or enable JetStream for the account.",
)


def _credentials_refused(address: Address) -> Fault:
    if address.is_anonymous:
        return Fault(
            "it requires a user and a password, but NATS_URL has none", _CREDENTIALS, final=True
        )
    if address.name:
        return Fault(
            "it refuses the user and password stored in this data folder",
            "Start `threadwax up` or `threadwax nats` on this data folder again.",
        )
    return Fault("it refuses the user and password", _CREDENTIALS, final=True)


def _tls(error: ssl.SSLError) -> Fault:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Fault(
            f"its certificate is not trusted ({error.verify_message})",
            "Use the host name in the certificate, and set SSL_CERT_FILE to the certificate of the "
            "authority that issued it.",
            final=True,
        )
    # A server that ends while it greets us is no proof of anything.
    ended = isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)
    return Fault(
        f"TLS with it fails ({error.reason})", "Is TLS set up in the server?", final=not ended
    )
