"""What the servers of one connection refuse, and whether waiting can help.

Each refusal is logged once, because it is repeated with each try. It must never log credentials.
"""

import asyncio
from dataclasses import replace
from typing import Final

import nats.errors

from shared.log import logger
from shared.nats_address import Address
from shared.nats_errors import Fault, UnfitServer, fault_of

REFUSALS_LIMIT: Final = 100
"""The most different refusals that are logged until the next reconnect."""

_HANG_UP: Final = (ConnectionResetError, BrokenPipeError)
"""How a connection ends after the server has said why it refuses."""


class Refusals:
    """The refusals of one connection. `last_error` explains it best if it cannot be used."""

    def __init__(self, address: Address) -> None:
        self.denied = asyncio.Event()
        """A server has denied a permission."""
        self.hopeless = asyncio.Event()
        """No server of the address can be used until a person changes something."""
        self.last_error: BaseException | None = None
        self._address = address
        self._refusing: set[str] = set()
        """The servers that cannot be used until a person changes something."""
        self._logged: set[str] = set()

    def fault_behind(self, error: BaseException) -> Fault:
        """Why a try to connect failed, if `error` is all that the client knows of it."""
        fault = fault_of(self.last_error or error, self._address)
        return replace(fault, final=fault.final and self.hopeless.is_set())

    def heard(self, error: Exception, server: str, *, is_reconnecting: bool) -> None:
        """Takes an error that the client reports; `server` is the host and port.

        A lost connection is reported elsewhere; other errors here are refusals.
        """
        if self.last_error is None or not isinstance(error, _HANG_UP):
            self.last_error = error  # a server's reason explains more than its hang-up after it
        fault = fault_of(error, self._address)
        if fault.final or isinstance(error, UnfitServer):
            self._refusing.add(server)
            if len(self._refusing) >= len(set(self._address.servers)):
                self.hopeless.set()
            if is_reconnecting and fault.why not in self._logged:
                self._logged.add(fault.why)
                logger().error(
                    "nats cannot be used now", server=self._address.shown, why=fault.why,
                    remedy=fault.remedy,
                )  # fmt: skip
        text = str(error).lower()
        is_denied = "permissions violation" in text
        if is_denied:
            self.denied.set()
        if not is_denied and not isinstance(error, nats.errors.SlowConsumerError):
            logger().debug("nats error", error=str(error))
        elif text not in self._logged and len(self._logged) < REFUSALS_LIMIT:
            self._logged.add(text)
            logger().error("nats refused", error=str(error))

    def may_publish(self, subject: str) -> bool:
        """False if a server has denied a message on this subject, lately."""
        return f'nats: permissions violation for publish to "{subject.lower()}"' not in self._logged

    def over(self) -> None:
        """The connection is back: what is refused from now on is logged again."""
        self._logged.clear()
