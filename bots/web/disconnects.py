"""A browser that leaves while something is sent to it is not an error.

Streamlit closes the connection once more then, and the server would log that as a crash.
"""

from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnected

from shared.log import logger


class Disconnects:
    """ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        try:
            await self._app(scope, receive, send)
        except WebSocketDisconnected as error:
            logger().debug("a browser has left", why=str(error))
