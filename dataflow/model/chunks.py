"""One streamed answer, from the bytes of an endpoint to the text that people see.

What goes wrong is a `ModelError`. A shape that no endpoint should send is skipped, and never fails.
"""

import asyncio
import contextlib
import functools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Final, NamedTuple

import httpx2
import openai

from dataflow.model.body import Body
from dataflow.model.errors import ModelError, safe_code
from dataflow.model.openai_errors import RAISED, reported, translated
from dataflow.model.records import DONE, Records
from dataflow.model.thoughts import Shown, Thoughts
from dataflow.model.usage import usage_of
from shared.messages import Usage
from shared.text import Joining

Chunk = dict[str, Any]

DRAIN_S: Final = 0.1
"""For the few bytes after the last record. Read to its end, a connection can be used again."""

_BROKEN_OFF: Final = frozenset(
    {"error", "abort", "cancelled", "insufficient_system_resource", "network_error"}
)
"""Finish reasons of answers that are not whole: OpenRouter, vLLM, DeepSeek."""

_THOUGHTS: Final = ("reasoning_content", "reasoning", "thinking")


class Piece(NamedTuple):
    """What one chunk says."""

    text: str
    thoughts: int
    """Characters of thoughts that came apart from the text."""
    finish: str | None


class Chunks:
    """One call, up to its last chunk or until it is hung up."""

    def __init__(self, client: openai.AsyncOpenAI, body: bytes | Body) -> None:
        self._client = client
        self._body = body
        self._stream: openai.AsyncStream[object] | None = None
        self._records = Records()
        self._joining = Joining()
        self._thoughts = Thoughts()
        self._texts: AsyncGenerator[Shown, None] | None = None
        self._first: Shown | None = None
        self._apart_chars = 0
        self.finish: str | None = None
        """Why the answer ended; None before that."""
        self.usage: Usage | None = None

    @property
    def thought_chars(self) -> int:
        """Characters of thoughts, which nobody is shown."""
        return self._apart_chars + self._thoughts.hidden_chars

    async def send(self) -> None:
        """Sends the request and waits until the endpoint takes it.

        Raises:
            ModelError: it was refused, or did not arrive.
        """
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

    async def until_text(self, on_thought: Callable[[], None]) -> None:
        """Reads up to the first text; `on_thought` is called for thoughts before it.

        Raises:
            ModelError: nothing was shown, so another try shows nothing twice.
        """
        if self._stream is None:
            return
        self._texts = self._read(self._stream.response, on_thought)
        self._first = await anext(self._texts, None)
        if self._first is None and is_broken_off(self.finish):
            raise ModelError("cut", "the stream ended before its first text")

    async def __aiter__(self) -> AsyncIterator[Shown]:
        if self._first is None or self._texts is None:
            return
        yield self._first
        async for shown in self._texts:
            yield shown

    async def aclose(self) -> None:
        """Hangs up, so that a stopped answer costs nothing more."""
        if self._stream is not None:
            await self._stream.close()
        if self._texts is not None:
            await self._texts.aclose()

    async def _read(
        self, response: httpx2.Response, on_thought: Callable[[], None]
    ) -> AsyncGenerator[Shown, None]:
        try:
            async for chunk in self._chunks(response):
                self.usage = usage_of(chunk) or self.usage
                piece = piece_of(chunk)
                if piece.thoughts:
                    self._apart_chars += piece.thoughts
                    on_thought()
                self.finish = piece.finish or self.finish
                if piece.text:
                    shown = self._thoughts.add(self._joining.add(piece.text))
                    if shown.text or shown.starts_over:
                        yield shown
                    elif self._thoughts.thinking:
                        on_thought()
        except RAISED as error:
            raise translated(error) from error
        if self.finish is None:
            return
        for last in (self._thoughts.add(self._joining.end()), self._thoughts.end()):
            if last.text or last.starts_over:
                yield last

    async def _chunks(self, response: httpx2.Response) -> AsyncIterator[Chunk]:
        """The chunks of the response, up to the record that says it is complete."""
        pieces = response.aiter_bytes()
        async for piece in pieces:
            for document in self._records.add(piece):
                if document.startswith(DONE):
                    self.finish = self.finish or "stop"
                    await _drain(pieces)
                    return
                for chunk in self._chunks_in(document):
                    yield chunk
        for document in self._records.end():
            if document.startswith(DONE):
                self.finish = self.finish or "stop"
                return
            for chunk in self._chunks_in(document):
                yield chunk

    def _chunks_in(self, document: str) -> list[Chunk]:
        found = json.loads(document)
        chunks = [chunk for chunk in _listed(found) if isinstance(chunk, dict)]
        for chunk in chunks:
            if (error := error_in(chunk)) is not None:
                raise reported(error)
            if self._records.whole and not isinstance(chunk.get("choices"), list):
                raise ModelError("not openai", "JSON, but no completion")
        return chunks


async def _drain(pieces: AsyncIterator[bytes]) -> None:
    with contextlib.suppress(TimeoutError, *RAISED):
        async with asyncio.timeout(DRAIN_S):
            async for _ in pieces:
                pass


@functools.lru_cache(maxsize=64)
def _chat_completions(base_url: httpx2.URL) -> str:
    return str(base_url.join("chat/completions"))


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def error_in(chunk: Chunk) -> object | None:
    """The error that a chunk reports instead of text: vLLM leaves out the outer object."""
    error: object = chunk.get("error")
    if error:
        return error if isinstance(error, dict | list | str) else chunk
    is_error = chunk.get("object") == "error" or chunk.get("type") == "error"
    return chunk if is_error and not chunk.get("choices") else None


def piece_of(chunk: Chunk) -> Piece:
    """What a chunk says, whatever its shape; the usage chunk has no choices.

    A whole completion has a `message` instead of a `delta`.
    """
    choices = chunk.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        return Piece("", 0, None)
    delta = choice.get("delta")
    if delta is None:
        delta = choice.get("message")
    text, thoughts = "", 0
    if isinstance(delta, dict):
        # A refusal is the answer when there is one.
        text = _text_of(delta.get("content")) + _text_of(delta.get("refusal"))
        thoughts = _thoughts_in(delta)
    finish = choice.get("finish_reason")
    # Some endpoints send an empty reason with every chunk.
    return Piece(text.replace("\0", ""), thoughts, safe_code(finish).lower() if finish else None)


def is_broken_off(finish: str | None) -> bool:
    """Whether an answer with this finish reason is not whole."""
    return finish is None or finish in _BROKEN_OFF


def _thoughts_in(delta: dict[str, Any]) -> int:
    for name in _THOUGHTS:
        if thoughts := delta.get(name):
            return len(thoughts) if isinstance(thoughts, str) else 1
    return 0


def _text_of(content: object) -> str:
    """The text in a delta's content: a text, or a list of typed parts, of which some are text."""
    if isinstance(content, str):
        return content
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
        case {"type": "text" | "output_text", "text": str(text) | {"value": str(text)}} | {
            "type": "refusal",
            "refusal": str(text),
        }:
            return text
        case {"text": str(text), **others} if "type" not in others:
            return text
    return ""  # a picture, a thought, or something newer than this
