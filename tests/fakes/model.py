"""A fake model server: OpenAI's streaming chat completions, with faults on request."""

import argparse
import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


def default_reply(request: dict[str, Any]) -> str:
    """Repeats the question, without its background, and says how many messages were sent."""
    messages = request["messages"]
    said = str(messages[-1]["content"]).rpartition("</background>\n\n")[2]
    return f"answer {len(messages)} to: {said}"


@dataclass
class Fault:
    """A failure of the next call."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    error: dict[str, Any] = field(default_factory=dict)
    after_chunks: int = 0
    kind: str = "status"  # status, reset, cut, corrupt, stall, no_finish, error_frame


@dataclass(frozen=True)
class Refusal:
    """An error instead of an answer. A body that is a string is sent as a web page."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class FakeModel:
    """Records requests, and answers after `delay_s` in pieces of `piece_chars` every `pause_s`."""

    reply: Callable[[dict[str, Any]], str] = default_reply
    delay_s: float = 0.0
    pause_s: float = 0.0
    piece_chars: int = 1 << 20
    may_finish: asyncio.Event | None = None
    """Set by a test that wants to keep an answer incomplete."""

    finish: str = "stop"
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    faults: deque[Fault] = field(default_factory=deque)
    always: Fault | None = None
    hung_up: int = 0
    keep_requests: bool = True
    frames: list[str] | None = None
    """Sent instead of an answer: the data of each event, unchanged."""

    raw: list[bytes] | None = None
    """Sent instead of an answer: the bytes of the body, piece by piece."""

    content_type: str = "text/event-stream"
    refuse: Callable[[dict[str, Any]], Refusal | None] = lambda _: None
    """Decides which requests are refused. The rules are in `tests/fakes/model_servers.py`."""

    models: Any = field(default_factory=lambda: [{"id": "fake", "object": "model"}])
    usage: dict[str, Any] = field(default_factory=dict)
    """Additional counts in the reported usage."""

    times: list[float] = field(default_factory=list)
    """The time of each request on the monotonic clock."""

    host: str = "127.0.0.1"
    body_limit: int = 50 << 20
    """A larger request gets 413, as from OpenAI (limit 50 MB, according to its guide to images)."""

    async def start(self, port: int = 0) -> "FakeModel":
        app = web.Application(client_max_size=self.body_limit)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", self._models)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, port)
        await site.start()
        self.port: int = self._runner.addresses[0][1]
        return self

    async def stop(self) -> None:
        await self._runner.cleanup()

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}/v1"

    async def _models(self, _: web.Request) -> web.Response:
        if isinstance(self.models, Refusal):
            return _refused(self.models)
        return web.json_response({"object": "list", "data": self.models})

    async def _complete(self, http: web.Request) -> web.StreamResponse:
        request = json.loads(await http.read())
        if self.keep_requests:
            self.requests.append(request)
            self.headers.append(dict(http.headers))
            self.times.append(time.monotonic())
        if (refusal := self.refuse(request)) is not None:
            return _refused(refusal)
        fault = self.faults.popleft() if self.faults else self.always
        if fault is not None and fault.kind == "status":
            return web.json_response(
                {"error": fault.error or {"message": "as ordered"}},
                status=fault.status,
                headers=fault.headers,
            )
        if fault is not None and fault.kind == "reset" and http.transport is not None:
            http.transport.abort()
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        text = self.reply(request)
        if not request.get("stream") and self.raw is None:
            return web.json_response(whole(text, self.finish))
        response = web.StreamResponse(headers={"Content-Type": self.content_type})
        await response.prepare(http)
        try:
            await self._stream(http, response, request, text, fault)
        except ConnectionError:
            self.hung_up += 1
            raise
        return response

    async def _stream(
        self,
        http: web.Request,
        response: web.StreamResponse,
        request: dict[str, Any],
        text: str,
        fault: Fault | None,
    ) -> None:
        async def send(chunk: Any) -> None:
            data = chunk if isinstance(chunk, str) else json.dumps(chunk)
            await response.write(f"data: {data}\n\n".encode())

        def delta(content: str, finish: str | None = None) -> dict[str, Any]:
            choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
            return {"object": "chat.completion.chunk", "choices": [choice]}

        if self.raw is not None:
            for piece in self.raw:
                await response.write(piece)
                await asyncio.sleep(0)
            await response.write_eof()
            return
        if self.frames is not None:
            for frame in self.frames:
                await send(frame)
            await response.write_eof()
            return
        pieces = [text[i : i + self.piece_chars] for i in range(0, len(text), self.piece_chars)]
        for number, piece in enumerate([*pieces, ""]):
            if fault is not None and number == min(fault.after_chunks, len(pieces)):
                if fault.kind == "cut" and http.transport is not None:
                    http.transport.close()
                    return
                if fault.kind == "corrupt":
                    await send('{"choices": [{"delta": {"con')
                    return
                if fault.kind == "stall":
                    await asyncio.sleep(3600)
                if fault.kind == "no_finish":
                    await response.write_eof()
                    return
                if fault.kind == "error_frame":
                    await send({"error": fault.error or {"message": "overloaded"}})
                    return
            if piece:
                await send(delta(piece))
                if self.pause_s:
                    await asyncio.sleep(self.pause_s)
            if self.may_finish is not None and number == len(pieces) // 2:
                await self.may_finish.wait()
        await send(delta("", self.finish))
        if request.get("stream_options", {}).get("include_usage"):
            usage = {
                "prompt_tokens": sum(len(str(m["content"])) // 4 + 4 for m in request["messages"]),
                "completion_tokens": len(text) // 4 + 1,
                **self.usage,
            }
            await send({"object": "chat.completion.chunk", "choices": [], "usage": usage})
        await send("[DONE]")
        await response.write_eof()


def whole(text: str, finish: str = "stop") -> dict[str, Any]:
    """Returns a completion that is not streamed."""
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"object": "chat.completion", "choices": [choice], "usage": {"prompt_tokens": 3}}


def _refused(refusal: Refusal) -> web.Response:
    if isinstance(refusal.body, str):
        return web.Response(
            text=refusal.body, content_type="text/html", status=refusal.status,
            headers=refusal.headers,
        )  # fmt: skip
    return web.json_response(refusal.body, status=refusal.status, headers=refusal.headers)


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--pieces", type=int, default=1, help="chunks per answer")
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--body-limit", type=int, default=FakeModel.body_limit, help="bytes")
    options = parser.parse_args()
    model = FakeModel(
        delay_s=options.delay, pause_s=options.pause, keep_requests=False,
        body_limit=options.body_limit,
    )  # fmt: skip
    if options.pieces > 1:
        model.reply = lambda _: "word " * options.pieces
        model.piece_chars = 5
    await model.start(options.port)
    print(model.base_url, flush=True)  # noqa: T201
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
