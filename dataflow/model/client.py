"""One streamed call to any OpenAI-compatible endpoint, with one layer of retries.

It must never retry after a word was shown, and never show a person an exception's text.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import backoff
import httpx2
import openai
from pydantic_core import to_json

from dataflow.model.body import Body, Picture
from dataflow.model.chunks import Chunks, piece_of, usage_of
from dataflow.model.dialects import Dialect
from dataflow.model.errors import TRANSIENT, ModelError, Why, waits_s
from dataflow.model.http import HttpClient
from shared import metrics
from shared.log import logger
from shared.messages import Usage
from shared.text import Joining, repaired

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
        self._give_up_after_s = give_up_after_s
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
        text = _Text(on_text)
        try:
            async with asyncio.timeout(self._give_up_after_s + ANSWER_LIMIT_S):
                chunks, name = await self._opened(messages, model)
                for picture in _pictures_of(messages):
                    picture.drop()  # after the first text nothing is sent again
                if self._complaining:
                    self._complaining = False
                    logger().warning("the model answers again")
                finish, usage = await _read(chunks, text)
        except TimeoutError as error:
            raise ModelError("stalled", "the answer took too long") from error
        answer = text.whole()
        if not answer.strip():
            raise ModelError("refused" if finish == "content_filter" else "empty", finish)
        if finish == "length":
            answer += LENGTH_NOTE
        return Completion(answer, name, usage)

    async def close(self) -> None:
        """Closes the idle connections."""
        for client in self._clients.values():
            await client.close()

    async def _opened_once(
        self, messages: tuple[dict[str, Any], ...], model: str | None
    ) -> tuple[Chunks, str]:
        """A stream whose first text has arrived, so that until then a retry shows nothing twice."""
        try:
            endpoint = self._endpoint()
        except OSError as error:
            raise ModelError("unreachable", "the demo model is not running") from error
        name = repaired(model or endpoint.model)
        dialect = endpoint.dialect
        body: dict[str, Any] = {
            "model": name,
            "messages": messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            dialect.max_tokens_field: self._answer_tokens,
            **dialect.sampling,
        }
        content = Body(body) if _pictures_of(messages) else to_json(body)
        chunks = Chunks(self._client(endpoint), content)
        try:
            await chunks.open()
        except ModelError as error:
            await chunks.aclose()
            why = _why(error, has_pictures=bool(_pictures_of(messages)))
            if why == error.why:
                raise
            raise ModelError(why, str(error)) from error
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
            # httpx's own transport looks through all connections for each call. 0: as many as it
            # needs.
            http_client=HttpClient(verify=self._tls, limits=httpx2.Limits(max_connections=0)),
        )

    def _on_retry(self, details: Any) -> None:
        error: ModelError = details["exception"]
        metrics.model_retries.labels(error.why).inc()
        if not self._complaining:
            self._complaining = True
            logger().warning("the model does not answer: trying on", why=str(error)[:300])


async def _read(chunks: Chunks, text: "_Text") -> tuple[str, Usage | None]:
    """Reads the answer to its end; returns why it ended, and what it took."""
    finish, usage = None, None
    try:
        async for chunk in chunks:
            usage = usage_of(chunk) or usage
            piece, ended = piece_of(chunk)
            finish = ended or finish
            text.add(piece)
            if text.length > ANSWER_LIMIT_CHARS:
                finish = "length"
                break
    except ModelError as error:
        if text.length and error.why == "too long":
            # It would be asked again, shorter, and its text be shown twice.
            raise ModelError("cut", str(error)) from error
        raise
    finally:
        await chunks.aclose()
    if finish is None:
        raise ModelError("cut", "the stream ended without a finish reason")
    return finish, usage


class _Text:
    """The answer as it grows. Every piece that is shown is well formed."""

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self._on_text = on_text
        self._joining = Joining()
        self._pieces: list[str] = []
        self._started = time.monotonic()
        self.length = 0

    def add(self, piece: str) -> None:
        self._show(self._joining.add(piece))

    def whole(self) -> str:
        """All of it; nothing comes after that."""
        self._show(self._joining.end())
        return "".join(self._pieces)

    def _show(self, piece: str) -> None:
        if piece:
            if not self.length:
                metrics.first_token_s.observe(time.monotonic() - self._started)
            self._pieces.append(piece)
            self.length += len(piece)
            self._on_text(piece)


def _pictures_of(messages: tuple[dict[str, Any], ...]) -> list[Picture]:
    return [
        part["image_url"]["url"]
        for message in messages
        if isinstance(message["content"], list)
        for part in message["content"]
        if part["type"] == "image_url"
    ]


def _why(error: ModelError, *, has_pictures: bool) -> Why:
    """Why a call failed before its first text, knowing what was sent."""
    if has_pictures and error.why in {"refused", "error"}:
        # Endpoints without eyes refuse in many ways; llama.cpp even with a 500.
        return "no pictures"
    if not has_pictures and error.why == "too large":
        return "too long"
    return error.why
