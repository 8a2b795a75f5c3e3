"""One streamed answer, from the bytes of an endpoint to the text that people see.

Every failure is a `ModelError`. Shapes that no endpoint should send are skipped.
"""

import asyncio
import contextlib
import functools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Final

import httpx2
import openai

from dataflow.model.answer_notes import FILTERED, LENGTH, TOOLS
from dataflow.model.body import Body
from dataflow.model.chunk_fields import (
    Chunk,
    Other,
    error_in,
    is_broken_off,
    is_of_other_api,
    piece_of,
)
from dataflow.model.errors import ModelError, Why, safe_code
from dataflow.model.framing import DocumentDecoder, is_done
from dataflow.model.openai_errors import RAISED, reported, translated
from dataflow.model.reasoning import ReasoningFilter, Shown
from dataflow.model.usage import usage_of
from shared import tracing
from shared.replies import Usage
from shared.text import Joining
from shared.tracing import Span

DRAIN_S: Final = 0.1
"""Time to read the few bytes after the last record, so that the connection can be reused."""


class AnswerStream:
    """One call, until its last chunk or until it is closed."""

    def __init__(
        self, client: openai.AsyncOpenAI, body: bytes | Body, span: Span = tracing.OFF
    ) -> None:
        """`span` ends when this is closed."""
        self._span = span
        self._client = client
        self._body = body
        self._stream: openai.AsyncStream[object] | None = None
        self._documents = DocumentDecoder()
        self._joining = Joining()
        self._reasoning = ReasoningFilter()
        self._texts: AsyncGenerator[Shown, None] | None = None
        self._first: Shown | None = None
        self._apart_chars = 0
        self.finish: str | None = None
        """Why the answer ended; None before that."""
        self.other: Other = ""
        """The kind of content that cannot be shown."""
        self.usage: Usage | None = None

    @property
    def reasoning_chars(self) -> int:
        """Characters of reasoning, which is not shown."""
        return self._apart_chars + self._reasoning.hidden_chars

    def why_empty(self, note: str) -> Why:
        """The reason why the answer has no text; `note` is the one that its end gives it."""
        if note == FILTERED:
            return "refused"
        if note == TOOLS or self.other == "tools":
            return "tools"
        if self.other:
            return "not text"
        if self.reasoning_chars:
            return "thoughts" if note == LENGTH else "only thoughts"
        return "empty"

    async def send(self) -> None:
        """Sends the request and waits until the endpoint accepts it.

        Raises:
            ModelError: it was refused, or did not arrive.
        """
        # A length prevents chunked transfer encoding, which some servers refuse.
        size = len(self._body) if isinstance(self._body, bytes) else self._body.size_bytes
        try:
            # The same request as `chat.completions.create`, without its checks of every message,
            # which take 10 ms of processor time for a call with some history.
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

    async def until_text(self, on_reasoning: Callable[[], None]) -> None:
        """Reads up to the first text; calls `on_reasoning` for reasoning before it.

        Raises:
            ModelError: the call can be repeated, since nothing was shown yet.
        """
        if self._stream is None:
            return
        self._texts = self._read(self._stream.response, on_reasoning)
        self._first = await anext(self._texts, None)
        self._span.first_text()
        if self._first is None and is_broken_off(self.finish):
            raise ModelError("cut", "the stream ended before its first text")

    async def __aiter__(self) -> AsyncIterator[Shown]:
        if self._first is None or self._texts is None:
            return
        yield self._first
        try:
            async for shown in self._texts:
                yield shown
        except ModelError as error:
            self._span.fail(error.why)
            raise
        if self.finish is None or is_broken_off(self.finish):
            self._span.fail("cut")

    async def aclose(self) -> None:
        """Closes the connection, so that a stopped answer costs nothing more."""
        self._span.answered(safe_code(self.finish) if self.finish else "", self.usage)
        self._span.end()
        if self._stream is not None:
            await self._stream.close()
        if self._texts is not None:
            await self._texts.aclose()

    async def _read(
        self, response: httpx2.Response, on_reasoning: Callable[[], None]
    ) -> AsyncGenerator[Shown, None]:
        try:
            async for chunk in self._chunks(response):
                self.usage = usage_of(chunk, self.usage)
                piece = piece_of(chunk)
                self.other = piece.other or self.other
                if piece.reasoning_chars:
                    self._apart_chars += piece.reasoning_chars
                    on_reasoning()
                self.finish = piece.finish or self.finish
                if piece.text:
                    shown = self._reasoning.add(self._joining.add(piece.text))
                    if shown.text or shown.starts_over:
                        yield shown
                    elif self._reasoning.thinking:
                        on_reasoning()
        except RAISED as error:
            raise translated(error) from error
        if self.finish is None:
            return
        for last in (self._reasoning.add(self._joining.end()), self._reasoning.end()):
            if last.text or last.starts_over:
                yield last

    async def _chunks(self, response: httpx2.Response) -> AsyncIterator[Chunk]:
        """The chunks of the response, up to the record that completes it."""
        pieces = response.aiter_bytes()
        async for piece in pieces:
            for document in self._documents.add(piece):
                if is_done(document):
                    self.finish = self.finish or "stop"
                    await _drain(pieces)
                    return
                for chunk in self._chunks_in(document):
                    yield chunk
        for document in self._documents.end():
            if is_done(document):
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
            if not isinstance(chunk.get("choices"), list) and (
                self._documents.is_json or is_of_other_api(chunk)
            ):
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
