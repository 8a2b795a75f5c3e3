"""What the openai client and its transports raise, put into our terms.

Pure, apart from the clock for a Retry-After that is a date.
"""

import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

import aiohttp
import httpx2
import openai

from dataflow.model.complaint import Complaint, complaint_of
from dataflow.model.errors import ModelError, Why, safe_code
from dataflow.model.overflow import is_overflow
from dataflow.model.records import Unframed

RAISED: Final = (
    openai.APIError,
    aiohttp.ClientError,  # not all of its transport's errors are translated
    httpx2.HTTPError,
    httpx2.StreamError,
    ssl.SSLError,
    Unframed,
    ValueError,  # no JSON, a number with thousands of digits
    RecursionError,  # JSON that is nested too deeply
)
"""Everything that bytes of an endpoint can lead to. A defect of ours is none of these."""

_BY_STATUS: Final[dict[int, Why]] = {
    HTTPStatus.UNAUTHORIZED: "bad key",
    HTTPStatus.PAYMENT_REQUIRED: "quota",
    HTTPStatus.FORBIDDEN: "bad key",
    HTTPStatus.NOT_FOUND: "no model",
    HTTPStatus.METHOD_NOT_ALLOWED: "not openai",
    HTTPStatus.REQUEST_TIMEOUT: "stalled",
    HTTPStatus.CONFLICT: "overloaded",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too large",
    HTTPStatus.TOO_EARLY: "overloaded",
    HTTPStatus.TOO_MANY_REQUESTS: "overloaded",
    HTTPStatus.INTERNAL_SERVER_ERROR: "error",
    HTTPStatus.NOT_IMPLEMENTED: "refused",
}
"""Other 4xx are refusals. Other 5xx are a server that is busy, or on its way up or down."""

_QUOTA_CODES: Final = frozenset(
    {"insufficient_quota", "exceeded_current_quota_error", "billing_hard_limit_reached",
     "billing_not_active", "insufficient_balance", "insufficient_credits"}
)  # fmt: skip
"""Only codes: Gemini words its limits per minute like an exhausted budget."""

_QUOTA_WORDS: Final = ("credit balance is too low", "insufficient balance", "insufficient credits")
_NO_MODEL_CODES: Final = frozenset({"model_not_found", "model_not_available"})


def translated(error: Exception) -> ModelError:
    """The same as a `ModelError`; its text holds no words of the endpoint's."""
    if isinstance(error, Unframed):
        return ModelError("not openai", "neither a stream nor JSON")
    if not isinstance(error, openai.APIStatusError):
        return ModelError(_why_of_transport(error), type(error).__name__)
    complaint = complaint_of(error.status_code, error.body)
    detail = f"{type(error).__name__} {safe_code(error.code) if error.code else ''}".strip()
    return ModelError(
        _why_of(complaint), detail, retry_after_s=_retry_after_s(error), complaint=complaint
    )


def reported(error: object) -> ModelError:
    """An error that came inside a stream or in a body with status 200."""
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and code in _BY_STATUS else None
    complaint = complaint_of(status, error)
    return ModelError(
        _why_of(complaint),
        f"in the stream {safe_code(code) if code else ''}".strip(),
        complaint=complaint,
    )


def _why_of(complaint: Complaint) -> Why:
    if is_overflow(complaint):
        return "too long"
    if complaint.codes & _QUOTA_CODES or any(map(complaint.text.__contains__, _QUOTA_WORDS)):
        return "quota"
    return _why_of_status(complaint, complaint.status)


def _why_of_status(complaint: Complaint, status: int | None) -> Why:
    if status is None:
        return "overloaded" if "overloaded" in " ".join(complaint.codes) else "error"
    if complaint.codes & _NO_MODEL_CODES:
        return "no model"
    if complaint.web_page and status in {HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN}:
        return "not openai"
    if status > HTTPStatus.INTERNAL_SERVER_ERROR:
        return _BY_STATUS.get(status, "overloaded")
    return _BY_STATUS.get(status, "refused")


def _why_of_transport(error: Exception) -> Why:
    if isinstance(error, openai.APITimeoutError | httpx2.TimeoutException):
        # Its transport calls every failed connection a time-out.
        return "stalled" if isinstance(_root(error), TimeoutError) else "unreachable"
    if isinstance(error, openai.APIConnectionError | httpx2.TransportError | ssl.SSLError):
        return "unreachable"
    return "error" if isinstance(error, openai.APIError) else "corrupt"


def _root(error: BaseException) -> BaseException:
    """What aiohttp raised, below httpx's and openai's translations of it."""
    while not isinstance(error, aiohttp.ClientError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _retry_after_s(error: openai.APIStatusError) -> float | None:
    """The wait that the endpoint asks for, in milliseconds, seconds, or as a date."""
    headers = error.response.headers
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit_s
        except (KeyError, ValueError):
            continue
        if seconds >= 0:  # neither negative nor NaN
            return seconds
    now = _date(headers.get("date")) or datetime.now(UTC)  # its own clock, if it says
    then = _date(headers.get("retry-after"))
    return None if then is None else max(0.0, (then - now).total_seconds())


def _date(text: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
