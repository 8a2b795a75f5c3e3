"""A lean model server for load tests: streamed chat completions on bare asyncio.

It answers `--delay` seconds after a request, in `--pieces` words every `--pause` seconds, and
records when each question was asked and answered. `GET /times` returns and clears these times.
"""

import argparse
import asyncio
import gc
import json
import time
from typing import Any, Final

HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
END: Final = b"0\r\n\r\n"
WORD: Final = "word "


def _event(data: str) -> bytes:
    line = f"data: {data}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(line), line)


def _delta(content: str, finish: str | None) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    return _event(json.dumps({"object": "chat.completion.chunk", "choices": [choice]}))


class Model:
    """The prepared answer, and the recorded times."""

    def __init__(self, *, delay_s: float, pieces: int, pause_s: float, chars: int) -> None:
        self.delay_s = delay_s
        self.pause_s = pause_s
        word = WORD * max(1, chars // len(WORD))
        self.pieces = [_delta(word, None)] * pieces
        usage = {"prompt_tokens": 100, "completion_tokens": pieces}
        self.last = (
            _delta("", "stop")
            + _event(json.dumps({"object": "chat.completion.chunk", "choices": [], "usage": usage}))
            + _event("[DONE]")
            + END
        )
        self.times: dict[str, list[float]] = {}


class Connection(asyncio.Protocol):
    """One client's connection. Requests on it do not overlap."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[:end]).lower()
        length = 0
        if (at := head.find(b"content-length:")) >= 0:
            length = int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(self._buffer) < end + 4 + length:
            return
        body = bytes(self._buffer[end + 4 : end + 4 + length])
        del self._buffer[: end + 4 + length]
        if head.startswith(b"get /times"):
            self._write(self._model.times)
            self._model.times.clear()
        elif head.startswith(b"get "):
            self._write({"object": "list", "data": []})
        else:
            self._answer(body)

    def _write(self, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (len(body), body)
        )

    def _answer(self, body: bytes) -> None:
        asked = time.monotonic()
        said = str(json.loads(body)["messages"][-1]["content"])
        question = said.rpartition("</background>\n\n")[2]  # without the background
        times = self._model.times[question] = [asked]
        loop = asyncio.get_running_loop()
        if self._model.delay_s:
            loop.call_later(self._model.delay_s, self._piece, 0, times)
        else:
            self._piece(0, times)

    def _piece(self, number: int, times: list[float]) -> None:
        if self._transport.is_closing():
            return
        if number == 0:
            self._transport.write(HEAD)
            times.append(time.monotonic())
        pieces = self._model.pieces
        while number < len(pieces):
            self._transport.write(pieces[number])
            number += 1
            if self._model.pause_s and number < len(pieces):
                asyncio.get_running_loop().call_later(
                    self._model.pause_s, self._piece, number, times
                )
                return
        self._transport.write(self._model.last)
        times.append(time.monotonic())


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--pieces", type=int, default=1)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--chars", type=int, default=len(WORD), help="characters per piece")
    options = parser.parse_args()
    model = Model(
        delay_s=options.delay, pieces=options.pieces, pause_s=options.pause, chars=options.chars
    )
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(model), "127.0.0.1", 0, backlog=8192)
    gc.freeze()
    port = server.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}/v1", flush=True)  # noqa: T201
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
