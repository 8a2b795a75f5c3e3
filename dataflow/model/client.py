"""One streamed call to the configured model, with one layer of retries and a fallback.

It must never retry after text was shown, ask two endpoints at once, or show people the text of an
exception.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import backoff
import httpx2
import openai

from dataflow.model.answer_notes import BY_FINISH, FALLBACK
from dataflow.model.answer_stream import AnswerStream
from dataflow.model.answer_text import AnswerText
from dataflow.model.calls import Calls, Messages, images_of
from dataflow.model.chunk_fields import is_broken_off
from dataflow.model.endpoint import Endpoint
from dataflow.model.errors import ELSEWHERE, TRANSIENT, ModelError
from dataflow.model.health import ModelHealth
from dataflow.model.http import HttpClient, without_login
from dataflow.model.request_body import Asker
from dataflow.model.retries import waits_s
from dataflow.model.status import Waiting
from shared import metrics, tracing
from shared.log import logger
from shared.replies import Usage
from shared.text import repaired
from shared.tuning import without

CONNECT_TIMEOUT_S: Final = 5.0
ANSWER_LIMIT_S: Final = 600.0
"""An answer that does not end is cut off after this time."""

FALLBACK_FIRST_S: Final = 15.0
"""The fallback is asked first for this long after the first endpoint failed."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A complete answer. `model` is the one that gave it."""

    text: str
    model: str
    usage: Usage | None


def _nothing(*_: object) -> None:
    """The callback of a caller that needs none."""


@dataclass(slots=True)
class _Question:
    """One question, and its callback."""

    messages: Messages
    model: str | None
    asker: Asker | None
    on_wait: Callable[[Waiting], None]
    ends_at: float
    background: bool
    """Whether nobody waits for it: it is tried once, and never shortened."""

    overloaded: Calls | None = None
    """The calls whose endpoint was overloaded in the last try."""

    retrying: tracing.Span = tracing.OFF
    """The wait before the next try."""


class _Opened(NamedTuple):
    """A call whose first text has arrived."""

    stream: AnswerStream
    model: str
    by_fallback: bool


class ModelClient:
    """Calls the model. `endpoint` is called for each try: the address of the demo model changes."""

    def __init__(
        self,
        endpoint: Callable[[], Endpoint],
        *,
        answer_tokens: int,
        give_up_after_s: float,
        silence_s: float,
        rng: random.Random,
        fallback: Endpoint | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._fallback = fallback
        self._fallback_first_until = 0.0
        self._answer_tokens = answer_tokens
        self.give_up_after_s = give_up_after_s
        self._silence_s = silence_s
        self._clients: dict[tuple[str | None, str], openai.AsyncOpenAI] = {}
        self._calls: dict[tuple[str | None, str, str], Calls] = {}
        with without("trio"):  # httpcore would import it if it is installed, which takes 3 MB
            self._tls = httpx2.create_ssl_context()
        self.health = ModelHealth()
        self._opened = backoff.on_exception(
            lambda: waits_s(rng, give_up_after_s, time.monotonic),
            ModelError,
            giveup=lambda error: not isinstance(error, ModelError) or error.why not in TRANSIENT,
            jitter=None,
            on_backoff=self._on_retry,
            logger=None,
        )(self._opened_once)

    async def answer(
        self,
        messages: Messages,
        *,
        model: str | None,
        on_text: Callable[[str], None],
        on_start_over: Callable[[], None] = _nothing,
        on_wait: Callable[[Waiting], None] = _nothing,
        asker: Asker | None = None,
        background: bool = False,
    ) -> Completion:
        """The model's answer.

        `on_text` gets each piece of text. `on_start_over` is called if everything so far was
        reasoning. `on_wait` gets the reason why there is no text yet. A call in the `background` is
        tried once, and no old turns are left out of it.

        Raises:
            ModelError: after retries, or at once if a retry cannot help.
        """
        ends_at = time.monotonic() + self.give_up_after_s
        text = AnswerText(on_text, on_start_over)
        question = _Question(messages, model, asker, on_wait, ends_at, background)
        with self.health.observed():
            try:
                async with asyncio.timeout(self.give_up_after_s + ANSWER_LIMIT_S):
                    opened = self._opened_once if background else self._opened
                    stream, name, by_fallback = await opened(question)
                    for image in images_of(messages):
                        image.drop()  # after the first text, nothing is sent again
                    if self.health.answered():
                        logger().warning("the model answers again")
                    finish = await _read(stream, text)
            except TimeoutError as error:
                raise ModelError("stalled", "the answer took too long") from error
            metrics.thought_chars.inc(stream.reasoning_chars)
            answer, note = text.whole, BY_FINISH.get(finish, "")
            if not answer.strip():
                raise ModelError(stream.why_empty(note), finish)
        if by_fallback:
            note += FALLBACK.format(model=name)
        return Completion(answer + note, name, stream.usage)

    @property
    def is_under_pressure(self) -> bool:
        """Whether calls fail, wait, or go to the fallback at the moment."""
        return (
            self.health.is_failing
            or time.monotonic() < self._fallback_first_until
            or any(calls.pause.is_active for calls in self._calls.values())
        )

    async def close(self) -> None:
        """Closes the idle connections."""
        for client in self._clients.values():
            await client.close()

    def client_of(self, endpoint: Endpoint) -> openai.AsyncOpenAI:
        """The HTTP client for an endpoint."""
        key = (endpoint.base_url, endpoint.api_key)
        client = self._clients.get(key)
        if client is None:
            client = self._clients[key] = self._new_client(endpoint)
        return client

    async def _opened_once(self, question: _Question) -> _Opened:
        """Opens a call at the first endpoint that gives a text."""
        question.retrying.end()
        failed: list[ModelError] = []
        for by_fallback in self._order():
            try:
                calls = self._calls_for(question, by_fallback=by_fallback)
                stream = await self._begun(calls, question)
            except ModelError as error:
                if self._fallback is None or not (by_fallback or error.why in ELSEWHERE):
                    raise
                if not by_fallback:
                    self._fallback_first_until = time.monotonic() + FALLBACK_FIRST_S
                failed.append(error)
            else:
                if not by_fallback:
                    self._fallback_first_until = 0.0
                return _Opened(stream, calls.model, by_fallback)
        raise _most_hopeful(failed)

    def _order(self) -> tuple[bool, ...]:
        """The order in which endpoints are asked; True is the fallback."""
        if self._fallback is None:
            return (False,)
        fallback_first = time.monotonic() < self._fallback_first_until
        return (fallback_first, not fallback_first)

    async def _begun(self, calls: Calls, question: _Question) -> AnswerStream:
        """A call whose first text has arrived."""
        try:
            return await calls.opened(
                question.messages,
                question.asker,
                ends_at=question.ends_at,
                on_wait=question.on_wait,
                whole=question.background,
            )
        except ModelError as error:
            question.overloaded = calls if error.why == "overloaded" else None
            raise

    def _calls_for(self, question: _Question, *, by_fallback: bool) -> Calls:
        if by_fallback and self._fallback is not None:
            question.on_wait("fallback")
            # A model that is set for a place belongs to the first endpoint.
            endpoint, name = self._fallback, self._fallback.model
        else:
            try:
                endpoint = self._endpoint()
            except OSError as error:
                raise ModelError("unreachable", "the demo model is not running") from error
            name = repaired(question.model or endpoint.model)
        key = (endpoint.base_url, endpoint.api_key, name)
        calls = self._calls.get(key)
        if calls is None:
            calls = self._calls[key] = Calls(
                endpoint, name, self.client_of(endpoint), self._answer_tokens
            )
        return calls

    def _new_client(self, endpoint: Endpoint) -> openai.AsyncOpenAI:
        url, credentials = without_login(endpoint.base_url)
        headers = {"Connection": "close"} if endpoint.dialect.close_connection else {}
        if credentials is not None:
            headers["Authorization"] = (
                credentials  # those of a proxy; the endpoint gets no key then
            )
        return openai.AsyncOpenAI(
            base_url=url,
            api_key=endpoint.api_key,
            max_retries=0,  # the one layer of retries is ours
            timeout=openai.Timeout(
                self._silence_s, connect=CONNECT_TIMEOUT_S, read=self._silence_s, pool=None
            ),
            default_headers=headers or None,
            # The transport of httpx would search all connections for each call. 0: no limit.
            http_client=HttpClient(
                verify=self._tls,
                limits=httpx2.Limits(max_connections=0),
                follow_redirects=False,  # people's messages must not reach another host
            ),
        )

    def _on_retry(self, details: Any) -> None:
        error: ModelError = details["exception"]
        question: _Question = details["args"][0]
        question.on_wait(error.why)
        question.retrying = tracing.waiting("to retry")
        if question.overloaded is not None:
            question.overloaded.pause.fail(details["wait"])
        metrics.model_retries.labels(error.why).inc()
        if self.health.failed(error.why):
            logger().warning("the model does not answer: retrying", why=str(error)[:300])


async def _read(stream: AnswerStream, text: AnswerText) -> str:
    """Reads the answer to its end; returns why it ended."""
    try:
        async for shown in stream:
            text.add(shown)
            if text.is_full:
                return "length"
    except ModelError as error:
        if text.length and error.why == "too long":
            raise ModelError("cut", str(error)) from error
        raise
    finally:
        await stream.aclose()
    if stream.finish is None or is_broken_off(stream.finish):
        raise ModelError("cut", f"the stream ended with {stream.finish or 'no finish reason'}")
    return stream.finish


def _most_hopeful(failed: list[ModelError]) -> ModelError:
    """The first failure after which a retry can help, or else the first one."""
    try:
        return next((error for error in failed if error.why in TRANSIENT), failed[0])
    finally:
        failed.clear()  # breaks the cycle of an error, its frames, and the list in these
