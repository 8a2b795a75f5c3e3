"""Calls to one endpoint and model, which learn what it refuses and pause when it is overloaded.

They must never learn from a complaint alone, which may repeat what somebody wrote: a lesson is kept
once a request that follows it was accepted.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import openai
from pydantic_core import to_json

from dataflow.model.answer_stream import AnswerStream
from dataflow.model.body import Body, Image
from dataflow.model.complaint import Complaint
from dataflow.model.dialects import OPENAI_URL
from dataflow.model.endpoint import Endpoint
from dataflow.model.errors import ModelError
from dataflow.model.overload_pause import OverloadPause
from dataflow.model.quirks import Quirks, confirmed, lesson, shorter, smaller
from dataflow.model.refusals import has_no_vision, is_about_the_form, says_nothing
from dataflow.model.request_body import Asker, request_body
from dataflow.model.status import Waiting
from dataflow.truncation import ChatMessage, request_tokens, shortened
from shared import tracing
from shared.log import logger

Messages = tuple[ChatMessage, ...]

LESSONS_LIMIT: Final = 24
"""Requests for one question that differ only in what they leave out."""

DOUBTS_LIMIT: Final = 3
"""After this many refusals in a row, an endpoint may refuse what it accepted before."""

LENGTH_KEPT_FOR_S: Final = 3600.0
"""How long a learned length is kept: local servers reload models with another window, and a number
in a complaint can mean something else."""

UNREAD_SHARE: Final = 4
"""A refusal that is not understood may be about length, so a quarter of the request is tried."""

SHORT_TOKENS: Final = 256
"""No window is smaller, so a refusal of a shorter request is not about length."""

NO_VISION_FOR_S: Final = 600.0
"""How long a model that refused images gets none. No later request can confirm this lesson, and the
server may load another model."""


class Calls:
    """All calls of this process to one model."""

    def __init__(
        self, endpoint: Endpoint, model: str, client: openai.AsyncOpenAI, answer_tokens: int
    ) -> None:
        self._endpoint = endpoint
        self._client = client
        self._answer_tokens = answer_tokens
        self._quirks = Quirks()
        self._no_vision_until = 0.0
        self._length_until = float("inf")
        self._accepted_chars = 0
        self._doubts = DOUBTS_LIMIT
        self.model = model
        self.pause = OverloadPause()

    async def opened(
        self,
        messages: Messages,
        asker: Asker | None,
        *,
        ends_at: float,
        on_wait: Callable[[Waiting], None],
        whole: bool = False,
    ) -> AnswerStream:
        """Opens a call and waits for its first text. It is sent before `ends_at` or not at all.

        `whole`: if the request is too long, it fails, and no turns are left out.

        Raises:
            ModelError: the endpoint failed, or refuses fields that cannot be left out.
        """
        known = quirks = self._known()
        if images_of(messages) and time.monotonic() < self._no_vision_until:
            raise ModelError("no pictures", "the endpoint refused pictures before")
        for _ in range(LESSONS_LIMIT):
            if quirks.room_tokens is not None:
                sent = shortened(messages, quirks.room_tokens)
                if whole and len(sent) < len(messages):
                    raise ModelError("too long", "it must not be shortened")
                messages = sent
            body = request_body(
                messages, endpoint=self._endpoint, model=self.model,
                answer_tokens=self._answer_tokens, quirks=quirks, asker=asker,
            )  # fmt: skip
            try:
                stream = await self._sent(body, messages, ends_at, on_wait)
            except ModelError as error:
                learned = self._learned(quirks, error, body, messages, before=known)
                if learned is None:
                    raise
                quirks = learned
            else:
                self._doubts = 0
                self._accepted_chars = max(self._accepted_chars, _chars(messages))
                if quirks is not known:  # other calls may have learned more in the meantime
                    self._keep(confirmed(quirks, request_tokens(messages)))
                return stream
        raise ModelError("refused", "no form of the request was accepted")

    async def _sent(
        self,
        body: dict[str, Any],
        messages: Messages,
        ends_at: float,
        on_wait: Callable[[Waiting], None],
    ) -> AnswerStream:
        await self._until_free(ends_at, on_wait)
        address = self._endpoint.base_url or OPENAI_URL
        span = tracing.calling(self.model, address, self._answer_tokens)
        stream = AnswerStream(
            self._client, Body(body) if images_of(messages) else to_json(body), span
        )
        try:
            await self._taken(stream)
            await stream.until_text(lambda: on_wait("thinking"))
        except BaseException as error:
            span.fail(error.why if isinstance(error, ModelError) else type(error).__name__)
            await stream.aclose()
            raise
        return stream

    async def _until_free(self, ends_at: float, on_wait: Callable[[Waiting], None]) -> None:
        span = tracing.OFF

        def waits() -> None:
            nonlocal span
            span = tracing.waiting("for the endpoint")
            on_wait("overloaded")

        try:
            await self.pause.begin(ends_at, waits)
        except TimeoutError as error:
            raise ModelError(
                "overloaded", "the pause lasts too long", retry_after_s=self.pause.left_s
            ) from error
        finally:
            span.end()

    async def _taken(self, stream: AnswerStream) -> None:
        try:
            await stream.send()
        except ModelError as error:
            if error.why == "overloaded":
                self.pause.fail(error.retry_after_s or 0.0)
            else:
                self.pause.leave()
            raise
        except BaseException:
            self.pause.leave()
            raise
        self.pause.succeed()

    def _learned(
        self,
        quirks: Quirks,
        error: ModelError,
        body: dict[str, Any],
        messages: Messages,
        *,
        before: Quirks,
    ) -> Quirks | None:
        """The lesson of a failed call; None if another form of the request cannot help.

        Raises:
            ModelError: the failure means something else because of what was sent.
        """
        has_images = bool(images_of(messages))
        complaint = error.complaint
        if error.why == "too long" or (error.why == "too large" and not has_images):
            return self._shorter(quirks, error, messages)
        if complaint is None or not (complaint.is_refusal or complaint.may_be_refusal):
            return None
        if has_images and has_no_vision(complaint):
            self._no_vision_until = time.monotonic() + NO_VISION_FOR_S
            raise ModelError("no pictures", str(error)) from error
        learned = lesson(quirks, complaint, body)
        if learned is not None:
            return learned
        if has_images and error.why in {"refused", "error"}:
            # Endpoints refuse images in many ways, llama.cpp even with a 500.
            raise ModelError("no pictures", str(error)) from error
        if error.why == "refused" and says_nothing(complaint):
            return self._guessed(quirks, complaint, body, messages, before)
        return None

    def _guessed(
        self,
        quirks: Quirks,
        complaint: Complaint,
        body: dict[str, Any],
        messages: Messages,
        before: Quirks,
    ) -> Quirks | None:
        """The form to try after a refusal whose reason is not understood."""
        accepted_before = self._doubts < DOUBTS_LIMIT
        learned = None
        if not accepted_before or is_about_the_form(complaint):
            learned = smaller(quirks, body, before=before)
        if learned is None:
            learned = self._perhaps_shorter(before, messages)
        if learned is None:
            self._doubts += 1
        return learned

    def _perhaps_shorter(self, before: Quirks, messages: Messages) -> Quirks | None:
        """A shorter form, in case that a refusal which is not understood is about length."""
        sent = request_tokens(messages)
        accepted = self._accepted_tokens(messages)
        if sent <= max(accepted, SHORT_TOKENS):
            return None
        room = accepted or sent // UNREAD_SHARE
        if len(shortened(messages, room)) == len(messages):
            return None
        return replace(before, room_tokens=room, guessed=True)

    def _shorter(self, quirks: Quirks, error: ModelError, messages: Messages) -> Quirks:
        answer = quirks.answer_tokens or self._answer_tokens
        sent = request_tokens(messages)
        learned = shorter(quirks, error.complaint, sent_tokens=sent, answer_tokens=answer)
        accepted = self._accepted_tokens(messages)
        if learned.room_tokens is not None and learned.room_tokens < accepted < sent:
            # The number in the complaint was not the window.
            learned = replace(quirks, room_tokens=accepted, guessed=True)
        left = shortened(messages, learned.room_tokens or 0)
        if len(left) == len(messages) and (learned.answer_tokens or answer) >= answer:
            raise ModelError("too long", str(error)) from error
        return learned

    def _accepted_tokens(self, messages: Messages) -> int:
        """The largest request that was accepted, in the estimated tokens of these messages."""
        return request_tokens(messages) * self._accepted_chars // max(_chars(messages), 1)

    def _known(self) -> Quirks:
        """The quirks that are known, without a length that is too old."""
        if time.monotonic() >= self._length_until:
            self._length_until = float("inf")
            self._quirks = replace(self._quirks, room_tokens=None, answer_tokens=None)
        return self._quirks

    def _keep(self, quirks: Quirks) -> None:
        if quirks != self._quirks:
            if quirks.room_tokens is not None or quirks.answer_tokens is not None:
                self._length_until = time.monotonic() + LENGTH_KEPT_FOR_S
            self._quirks = quirks
            logger().warning(
                "the model's endpoint refuses parts of the request: they are left out from now on",
                model=self.model, without=sorted(quirks.without),
                system_in_user=quirks.system_in_user, room_tokens=quirks.room_tokens,
                answer_tokens=quirks.answer_tokens,
            )  # fmt: skip


def _chars(messages: Messages) -> int:
    """The characters of a request, which are quicker to count than its tokens."""
    return sum(len(m["content"]) for m in messages if isinstance(m["content"], str))


def images_of(messages: Messages) -> list[Image]:
    """The images in a request."""
    return [
        part["image_url"]["url"]
        for message in messages
        if isinstance(message["content"], list)
        for part in message["content"]
        if part["type"] == "image_url"
    ]
