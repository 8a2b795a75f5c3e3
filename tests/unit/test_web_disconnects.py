"""A browser that leaves at any moment leaves no traceback in the log; a defect does."""

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from bots.web.disconnects import Disconnects

SCOPE = {
    "type": "websocket", "path": "/stream", "headers": [], "query_string": b"", "subprotocols": [],
}  # fmt: skip


async def receive() -> dict[str, Any]:
    return {"type": "websocket.connect"}


async def send(message: dict[str, Any]) -> None:
    """The browser leaves right after it was accepted."""
    if message["type"] != "websocket.accept":
        raise OSError


def served(endpoint: Any) -> Starlette:
    return Starlette(
        routes=[WebSocketRoute("/stream", endpoint)], middleware=[Middleware(Disconnects)]
    )


async def test_a_browser_that_leaves_while_something_is_sent_is_no_error() -> None:
    """The endpoint does what Streamlit does."""
    came_to_its_end = False

    async def as_streamlit(socket: WebSocket) -> None:
        nonlocal came_to_its_end
        await socket.accept()
        with pytest.raises(WebSocketDisconnect):
            await socket.send_bytes(b"what has changed")
        try:
            await socket.receive_bytes()
        except RuntimeError:
            came_to_its_end = True
            await socket.close()

    await served(as_streamlit)(SCOPE, receive, send)  # type: ignore[arg-type]
    assert came_to_its_end


async def test_a_defect_is_still_one() -> None:
    async def broken(socket: WebSocket) -> None:
        await socket.accept()
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        await served(broken)(SCOPE, receive, send)  # type: ignore[arg-type]
