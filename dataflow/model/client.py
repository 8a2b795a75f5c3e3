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

from dataflow.model.chunks import Chunks, piece_of, usage_of
from dataflow.model.dialects import Dialect
from dataflow.model.errors import TRANSIENT, ModelError, waits_s
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
        started = time.monotonic()
        finish, usage = None, None
        text = _Text(on_text)
        try:
            async with asyncio.timeout(self._give_up_after_s + ANSWER_LIMIT_S):
                chunks, name = await self._opened(messages, model)
                if self._complaining:
                    self._complaining = False
                    logger().warning("the model answers again")
                try:
                    async for chunk in chunks:
                        usage = usage_of(chunk) or usage
                        piece, ended = piece_of(chunk)
                        finish = ended or finish
                        if piece and not text.length:
                            metrics.first_token_s.observe(time.monotonic() - started)
                        text.add(piece)
                        if text.length > ANSWER_LIMIT_CHARS:
                            finish = "length"
                            break
                finally:
                    await chunks.aclose()
        except TimeoutError as error:
            raise ModelError("stalled", "the answer took too long") from error
        if finish is None:
            raise ModelError("cut", "the stream ended without a finish reason")
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
        chunks = Chunks(self._client(endpoint), body)
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


class _Text:
    """The answer as it grows. Every piece that is shown is well formed."""

    def __init__(self, on_text: Callable[[str], None]) -> None:
        self._on_text = on_text
        self._joining = Joining()
        self._pieces: list[str] = []
        self.length = 0

    def add(self, piece: str) -> None:
        self._show(self._joining.add(piece))

    def whole(self) -> str:
        """All of it; nothing comes after that."""
        self._show(self._joining.end())
        return "".join(self._pieces)

    def _show(self, piece: str) -> None:
        if piece:
            self._pieces.append(piece)
            self.length += len(piece)
            self._on_text(piece)


def _holds_pictures(messages: tuple[dict[str, Any], ...]) -> bool:
    return any(
        part.get("type") == "image_url"
        for message in messages
        if isinstance(message["content"], list)
        for part in message["content"]
    )
