"""The chunks of one streamed answer, as the endpoint's JSON has them."""

import functools
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx2
import openai

from dataflow.model.body import Body
from dataflow.model.errors import ModelError, safe_code
from dataflow.model.openai_errors import RAISED, translated
from shared.messages import Usage

Chunk = dict[str, Any]

COUNT_LIMIT: Final = 10**9
"""Tokens of one call; beyond it an endpoint counts something else."""


class Chunks:
    """One call, up to its last chunk or until it is hung up. What goes wrong is a `ModelError`."""

    def __init__(self, client: openai.AsyncOpenAI, body: bytes | Body) -> None:
        self._client = client
        self._body = body
        self._stream: openai.AsyncStream[object] | None = None
        self._read_ahead: list[Chunk] = []
        self._ended = False

    async def open(self) -> None:
        """Starts the call and reads up to the first text."""
        # With a length it is not sent in HTTP's chunks, which some servers refuse.
        size = len(self._body) if isinstance(self._body, bytes) else self._body.size_bytes
        try:
            # The client's own `chat.completions.create` takes 10 ms of CPU for a call with some
            # history; this is the same request without its checks of every message.
            self._stream = await self._client.post(
                _chat_completions(self._client.base_url),
                content=self._body,
                options={"headers": {"Content-Length": str(size)}},
                cast_to=object,
                stream=True,
                stream_cls=openai.AsyncStream[object],
            )
        except RAISED as error:
            raise translated(error) from error
        # Not all chunks: a model that thinks sends tens of thousands before its first text.
        kept: dict[str, Chunk] = {}
        async for chunk in self._rest():
            piece, finish = piece_of(chunk)
            if usage_of(chunk) is not None:
                kept["usage"] = chunk
            if finish is not None:
                kept["finish"] = chunk
            if piece:
                self._read_ahead = [*kept.values(), chunk]
                return
        self._read_ahead = list(kept.values())
        self._ended = True
        if "finish" not in kept:
            raise ModelError("cut", "the stream ended before its first text")

    async def __aiter__(self) -> AsyncIterator[Chunk]:
        for chunk in self._read_ahead:
            yield chunk
        if not self._ended:
            async for chunk in self._rest():
                yield chunk

    async def _rest(self) -> AsyncIterator[Chunk]:
        if self._stream is None:
            return
        try:
            while True:
                # Not `async for`: the stream's own iterator wraps each chunk once more.
                chunk = await anext(self._stream)
                if isinstance(chunk, dict):
                    yield chunk
        except StopAsyncIteration:
            return
        except RAISED as error:
            raise translated(error) from error

    async def aclose(self) -> None:
        """Hangs up, so that a stopped answer costs nothing more."""
        if self._stream is not None:
            await self._stream.close()


@functools.lru_cache(maxsize=64)
def _chat_completions(base_url: httpx2.URL) -> str:
    return str(base_url.join("chat/completions"))


def piece_of(chunk: Chunk) -> tuple[str, str | None]:
    """Text and finish reason of a chunk, whatever its shape; the usage chunk has no choices."""
    choices = chunk.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        return "", None
    delta = choice.get("delta")
    text = _text_of(delta.get("content")) if isinstance(delta, dict) else ""
    finish = choice.get("finish_reason")
    # Some endpoints send an empty reason with every chunk.
    return text.replace("\0", ""), safe_code(finish) if finish else None


def _text_of(content: object) -> str:
    """The words in a delta's content: a text, or a list of typed parts, of which some are text."""
    parts = content if isinstance(content, list) else [content]
    return "".join(map(_text_of_part, parts))


def _text_of_part(part: object) -> str:
    match part:
        case str():
            return part
        case bool():
            return ""
        case int() | float():
            return str(part)
        case {"type": "text" | "output_text", "text": str(text) | {"value": str(text)}}:
            return text
        case {"text": str(text), **others} if "type" not in others:
            return text
    return ""  # a picture, a thought, or something newer than this


def usage_of(chunk: Chunk) -> Usage | None:
    """The tokens that the call took, in the chunk that reports them."""
    usage = chunk.get("usage")
    if not usage or not isinstance(usage, dict):
        return None
    return Usage(
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
    )


def _count(value: object) -> int:
    """A number of tokens; 0 for one that cannot be."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value) if 0 <= value <= COUNT_LIMIT else 0
