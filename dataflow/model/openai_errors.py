"""What the openai client raises, put into our terms."""

from http import HTTPStatus
from typing import Final

import aiohttp
import httpx2
import openai

from dataflow.model.dialects import OVERFLOW_CODES
from dataflow.model.errors import ModelError, Why, safe_code

RAISED: Final = (
    openai.APIError,
    aiohttp.ClientError,  # not all of its transport's errors are translated
    httpx2.HTTPError,
    httpx2.StreamError,
    ValueError,  # no JSON, no UTF-8, a number with thousands of digits
    RecursionError,  # JSON that is nested too deeply
)
"""Everything that bytes of an endpoint can lead to. A defect of ours is none of these."""

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


def translated(error: Exception) -> ModelError:
    """The same as a `ModelError`; its text holds no words of the endpoint's."""
    code = error.code if isinstance(error, openai.APIError) else None
    detail = f"{type(error).__name__} {safe_code(code) if code else ''}".strip()
    return ModelError(_why(error), detail, retry_after_s=_retry_after_s(error))


def _why(error: Exception) -> Why:
    codes = {str(error.code), str(error.type)} if isinstance(error, openai.APIError) else set()
    if codes & OVERFLOW_CODES:
        return "too long"
    if "insufficient_quota" in codes:
        return "quota"
    if isinstance(error, openai.APITimeoutError) and not isinstance(_root(error), TimeoutError):
        return "unreachable"  # its transport calls every failed connection a time-out
    if isinstance(error, openai.APIStatusError):
        if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return "too large"
        if error.status_code > HTTPStatus.INTERNAL_SERVER_ERROR:
            return "overloaded"  # or on its way up or down: it says nothing about the request
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
