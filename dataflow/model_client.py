"""The model: one streamed call to any OpenAI-compatible endpoint, with one layer of retries.

The only module that imports `openai`, hence its length. It must never retry after a word was shown,
and never show a person an exception's text.
"""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import backoff
import httpx2
import openai

from dataflow.dialects import OVERFLOW_CODES, Dialect
from dataflow.model_errors import TRANSIENT, ModelError, Why, waits_s
from shared import metrics
from shared.log import logger
from shared.messages import Usage

CONNECT_TIMEOUT_S: Final = 5.0
ANSWER_LIMIT_S: Final = 600.0
"""A model that trickles for ever ends here."""

ANSWER_LIMIT_CHARS: Final = 200_000
"""Beyond any model's answer; keeps one reply within what the journal takes."""

LENGTH_NOTE: Final = "\n\n[This is as long as an answer may be. Ask me to go on.]"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the model is and how it is spoken to."""

    base_url: str | None
    api_key: str
    model: str
    dialect: Dialect


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer."""

    text: str
    model: str
    usage: Usage | None


class ModelClient:
    """Calls the model. `endpoint` is asked anew for each try: the demo model can move."""

    def __init__(
        self,
        endpoint: Callable[[], Endpoint],
        *,
        answer_tokens: int,
        give_up_after_s: float,
        silence_s: float,
        rng: random.Random,
    ) -> None:
        self._endpoint = endpoint
        self._answer_tokens = answer_tokens
        self._silence_s = silence_s
        self._clients: dict[tuple[str | None, str], openai.AsyncOpenAI] = {}
        self._tls = httpx2.create_ssl_context()
        self._complaining = False
        self._opened = backoff.on_exception(
            lambda: waits_s(rng),
            ModelError,
            max_time=give_up_after_s,
            giveup=lambda error: not isinstance(error, ModelError) or error.why not in TRANSIENT,
            jitter=None,
            on_backoff=self._on_retry,
            logger=None,
        )(self._opened_once)

    async def answer(
        self,
        messages: tuple[dict[str, Any], ...],
        *,
        model: str | None,
        on_text: Callable[[str], None],
    ) -> Completion:
        """The model's answer; `on_text` gets each piece as it comes.

        Raises:
            ModelError: after retries, or at once where another try cannot help.
        """
        started = time.monotonic()
        async with asyncio.timeout(ANSWER_LIMIT_S):
            chunks, name = await self._opened(messages, model)
        if self._complaining:
            self._complaining = False
            logger().warning("the model answers again")
        text, finish, usage = "", None, None
        pieces: list[str] = []
        length = 0
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                async for chunk in chunks:
                    usage = _usage(chunk) or usage
                    piece, ended = _piece(chunk)
                    finish = ended or finish
                    if piece:
                        if not pieces:
                            metrics.first_token_s.observe(time.monotonic() - started)
                        pieces.append(piece)
                        length += len(piece)
                        on_text(piece)
                    if length > ANSWER_LIMIT_CHARS:
                        finish = "length"
                        break
        except TimeoutError as error:
            raise ModelError("stalled", "the answer took too long") from error
        finally:
            await chunks.aclose()
        text = "".join(pieces)
        if finish is None:
            raise ModelError("cut", "the stream ended without a finish reason")
        if not text.strip():
            raise ModelError("refused" if finish == "content_filter" else "empty", finish)
        if finish == "length":
            text += LENGTH_NOTE
        return Completion(text, name, usage)

    async def close(self) -> None:
        """Closes the idle connections."""
        for client in self._clients.values():
            await client.close()

    async def _opened_once(
        self, messages: tuple[dict[str, Any], ...], model: str | None
    ) -> tuple["_Chunks", str]:
        """A stream whose first text has arrived, so that until then a retry shows nothing twice."""
        try:
            endpoint = self._endpoint()
        except OSError as error:
            raise ModelError("unreachable", "the demo model is not running") from error
        name = model or endpoint.model
        dialect = endpoint.dialect
        body: dict[str, Any] = {
            "model": name,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            dialect.max_tokens_field: self._answer_tokens,
            **dialect.sampling,
        }
        chunks = _Chunks(self._client(endpoint), body)
        try:
            await chunks.open()
        except ModelError as error:
            await chunks.aclose()
            # Endpoints without eyes refuse in many ways; llama.cpp even with a 500.
            if error.why in {"refused", "error"} and _holds_pictures(messages):
                raise ModelError("no pictures", str(error)) from error
            raise
        except BaseException:
            await chunks.aclose()
            raise
        return chunks, name

    def _client(self, endpoint: Endpoint) -> openai.AsyncOpenAI:
        key = (endpoint.base_url, endpoint.api_key)
        client = self._clients.get(key)
        if client is None:
            client = self._clients[key] = self._new_client(endpoint)
        return client

    def _new_client(self, endpoint: Endpoint) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(
            base_url=endpoint.base_url,
            api_key=endpoint.api_key,
            max_retries=0,  # the one layer of retries is ours
            timeout=openai.Timeout(
                self._silence_s, connect=CONNECT_TIMEOUT_S, read=self._silence_s, pool=None
            ),
            default_headers={"Connection": "close"} if endpoint.dialect.close_connection else None,
            # Over aiohttp a call takes 0.9 ms of CPU, over httpx's own transport 1.4, and that one
            # looks through all connections for each call. 0: as many connections as it needs.
            http_client=openai.DefaultAioHttpClient(
                verify=self._tls, limits=httpx2.Limits(max_connections=0)
            ),
        )

    def _on_retry(self, details: Any) -> None:
        error: ModelError = details["exception"]
        metrics.model_retries.labels(error.why).inc()
        if not self._complaining:
            self._complaining = True
            logger().warning("the model does not answer: trying on", why=str(error)[:300])


class _Chunks:
    """The chunks of one stream, with the provider's errors put into our terms."""

    def __init__(self, client: openai.AsyncOpenAI, body: dict[str, Any]) -> None:
        self._client = client
        self._body = body
        self._stream: openai.AsyncStream[object] | None = None
        self._read_ahead: list[dict[str, Any]] = []
        self._ended = False

    async def open(self) -> None:
        """Starts the call and reads up to the first text."""
        with _translated():
            # The client's own `chat.completions.create` takes 10 ms of CPU for a call with some
            # history; this is the same request without its checks of every message.
            self._stream = await self._client.post(
                "/chat/completions",
                body=self._body,
                cast_to=object,
                stream=True,
                stream_cls=openai.AsyncStream[object],
            )
        finished = False
        async for chunk in self._rest():
            self._read_ahead.append(chunk)
            piece, finish = _piece(chunk)
            finished = finished or finish is not None
            if piece:
                return
        self._ended = True
        if not finished:
            raise ModelError("cut", "the stream ended before its first text")

    def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        return self._all()

    async def _all(self) -> AsyncIterator[dict[str, Any]]:
        for chunk in self._read_ahead:
            yield chunk
        if not self._ended:
            async for chunk in self._rest():
                yield chunk

    async def _rest(self) -> AsyncIterator[dict[str, Any]]:
        stream = aiter(self._stream or _nothing())
        while True:
            with _translated():
                try:
                    chunk = await anext(stream)
                except StopAsyncIteration:
                    return
            if isinstance(chunk, dict):
                yield chunk

    async def aclose(self) -> None:
        """Hangs up, so that a stopped answer costs nothing more."""
        if self._stream is not None:
            await self._stream.close()


async def _nothing() -> AsyncIterator[object]:
    return
    yield


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turns the client's exceptions into a `ModelError`."""
    try:
        yield
    except (
        openai.APIError,
        aiohttp.ClientError,  # what the client's transport does not translate
        json.JSONDecodeError,
        UnicodeDecodeError,
    ) as error:
        code = error.code if isinstance(error, openai.APIError) else None
        detail = f"{type(error).__name__} {code or ''}".strip()
        raise ModelError(_why(error), detail, retry_after_s=_retry_after_s(error)) from error


_BY_TYPE: Final[tuple[tuple[type[Exception], Why], ...]] = (
    (openai.APITimeoutError, "stalled"),
    (openai.APIConnectionError, "unreachable"),
    (openai.AuthenticationError, "bad key"),
    (openai.PermissionDeniedError, "bad key"),
    (openai.NotFoundError, "no model"),
    (openai.RateLimitError, "overloaded"),
    (openai.InternalServerError, "error"),
    (openai.APIStatusError, "refused"),  # the other 4xx: no retry makes them good
    (openai.APIError, "error"),  # an error in the midst of a stream
)


def _why(error: Exception) -> Why:
    codes = {error.code, error.type} if isinstance(error, openai.APIError) else set()
    if codes & OVERFLOW_CODES:
        return "too long"
    if "insufficient_quota" in codes:
        return "quota"
    if isinstance(error, openai.APITimeoutError) and not isinstance(_root(error), TimeoutError):
        return "unreachable"  # its transport calls every failed connection a time-out
    return next((why for kind, why in _BY_TYPE if isinstance(error, kind)), "corrupt")


def _root(error: BaseException) -> BaseException:
    """What aiohttp raised, below httpx's and openai's translations of it."""
    while not isinstance(error, aiohttp.ClientError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _retry_after_s(error: Exception) -> float | None:
    if not isinstance(error, openai.APIStatusError):
        return None
    try:
        return max(0.0, float(error.response.headers["retry-after"]))
    except (KeyError, ValueError):
        return None


def _holds_pictures(messages: tuple[dict[str, Any], ...]) -> bool:
    return any(
        part.get("type") == "image_url"
        for message in messages
        if isinstance(message["content"], list)
        for part in message["content"]
    )


def _piece(chunk: dict[str, Any]) -> tuple[str, str | None]:
    """Text and finish reason of a chunk; the usage chunk has no choices."""
    for choice in chunk.get("choices") or ():
        return (choice.get("delta") or {}).get("content") or "", choice.get("finish_reason")
    return "", None


def _usage(chunk: dict[str, Any]) -> Usage | None:
    usage = chunk.get("usage")
    if not usage:
        return None
    return Usage(
        prompt_tokens=usage.get("prompt_tokens") or 0,
        completion_tokens=usage.get("completion_tokens") or 0,
    )
