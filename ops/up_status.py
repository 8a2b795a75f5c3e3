"""The status page of `threadwax up`: in both of its event loops, at the same address."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from shared.settings import Settings

if TYPE_CHECKING:
    from aiohttp import web


class CannotServe(Exception):
    """The page cannot be served at its address; the text says what to do."""


class Status:
    """The page, if the settings want one; otherwise nothing happens here."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        """`say` shows people its address, once."""
        self._settings = settings
        self._say = say
        self._port = settings.http_port
        self._runner: web.AppRunner | None = None
        self._is_said = False

    async def serve(self, ready: Callable[[], tuple[bool, str]]) -> None:
        """Serves it in this event loop, until `close`. `ready`: as in `shared.http_status`.

        Raises:
            CannotServe: its port is taken, or its address not one of this machine.
        """
        if self._port is None:
            return
        from shared.http_status import CannotListen, serve_status

        host = self._settings.http_host
        try:
            self._runner, self._port = await serve_status(
                host, self._port, folder=self._settings.home, ready=ready
            )
        except CannotListen as error:
            raise CannotServe(str(error)) from None
        if not self._is_said:
            self._is_said = True
            self._say(f"status     http://{host}:{self._port}/readyz")

    async def close(self) -> None:
        """Ends it in this event loop."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
