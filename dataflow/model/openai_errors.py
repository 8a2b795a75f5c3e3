"""Translates the errors of the openai client and its transports into `ModelError`."""

import re
import ssl
from dataclasses import replace
from http import HTTPStatus
from typing import Final

import aiohttp
import httpx2
import openai

from dataflow.model.complaint import Complaint, complaint_of
from dataflow.model.errors import ModelError, Why, safe_code
from dataflow.model.framing import Unframed
from dataflow.model.overflow import is_overflow
from dataflow.model.refusals import is_about_content
from dataflow.model.retry_after import retry_after_s

RAISED: Final = (
    openai.APIError,
    aiohttp.ClientError,  # the transport does not translate all of its errors
    httpx2.HTTPError,
    httpx2.StreamError,
    ssl.SSLError,
    Unframed,
    ValueError,  # invalid JSON, or a number with thousands of digits
    RecursionError,  # JSON that is nested too deeply
)
"""All errors that the bytes of an endpoint can cause. A defect of ours is not one of them."""

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
    HTTPStatus.GONE: "no model",
    HTTPStatus.FAILED_DEPENDENCY: "error",  # TGI: the generation failed
    498: "overloaded",  # Groq
}
"""Any other 4xx is a refusal. Any other 5xx is a server that is busy, starting or stopping."""

_BY_CODE: Final[dict[str, Why]] = {
    "insufficient_quota": "quota",
    "exceeded_current_quota_error": "quota",
    "billing_hard_limit_reached": "quota",
    "billing_not_active": "quota",
    "billing_error": "quota",
    "insufficient_balance": "quota",
    "insufficient_credits": "quota",
    "1113": "quota",  # Zhipu
    "model_not_found": "no model",
    "model_not_available": "no model",
    "model_not_active": "no model",
    "model_decommissioned": "no model",
    "invalid_model": "no model",
    "invalid_api_key": "bad key",
    "api_key_invalid": "bad key",
}
"""Codes that are more precise than the status. Words like "quota" do not count, because Gemini also
uses them for its limits per minute."""

_STATUS_BY_CODE: Final[dict[str, int]] = {
    "invalid_request_error": 400,
    "invalid_argument": 400,
    "badrequesterror": 400,
    "authentication_error": 401,
    "unauthenticated": 401,
    "authenticationerror": 401,
    "permission_error": 403,
    "permission_denied": 403,
    "not_found_error": 404,
    "notfounderror": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "ratelimiterror": 429,
    "resource_exhausted": 429,
    "overloaded_error": 529,
    "unavailable": 503,
}
"""The status of errors inside a stream, which have none: OpenAI, Anthropic, Google, vLLM."""

_WORDS: Final[tuple[tuple[re.Pattern[str], Why], ...]] = (
    (
        re.compile(
            r"credit balance is too low|insufficient (?:balance|credits)|spending limit"
            r"|used all (?:of its |your )?available credits"
        ),
        "quota",
    ),
    (
        re.compile(
            r"(?:invalid|incorrect|expired|wrong) api[ _-]?key"
            r"|api[ _-]?key (?:is )?(?:not valid|invalid|expired|incorrect)"
        ),
        "bad key",
    ),
    (
        re.compile(
            r"\bmodel\b[^.\n]{0,80} (?:does not|doesn't|not) (?:exist|found)|invalid model\b"
            r"|not a valid model|no models? (?:is )?loaded|decommissioned"
        ),
        "no model",
    ),
)
"""Texts that some endpoints send with a status of 400 or 429: xAI, Gemini, DeepSeek, Anthropic."""

_STATUS: Final = re.compile(r"[45]\d\d")
_WORDED: Final = frozenset({400, 412, 422, 429, None})


def translated(error: Exception) -> ModelError:
    """The error as a `ModelError`, whose text contains nothing that the endpoint wrote."""
    if isinstance(error, Unframed):
        return ModelError("not openai", "neither a stream nor JSON")
    if not isinstance(error, openai.APIStatusError):
        return ModelError(_why_of_transport(error), type(error).__name__)
    complaint = complaint_of(error.status_code, error.body)
    wait_s = retry_after_s(error.response.headers, complaint.text)
    detail = f"{type(error).__name__} {safe_code(error.code) if error.code else ''}".strip()
    return ModelError(_why_of(complaint), detail, retry_after_s=wait_s, complaint=complaint)


def reported(error: object) -> ModelError:
    """An error that came inside a stream or in a body with status 200."""
    complaint = complaint_of(None, error)
    complaint = replace(complaint, status=_status_in(error, complaint))
    code = error.get("code") if isinstance(error, dict) else None
    return ModelError(
        _why_of(complaint),
        f"in the stream {safe_code(code) if code else ''}".strip(),
        complaint=complaint,
    )


def _status_in(error: object, complaint: Complaint) -> int | None:
    """The status that an error would have had outside a stream."""
    if isinstance(error, dict):
        for name in ("code", "status", "status_code"):
            text = str(error.get(name))
            if _STATUS.fullmatch(text):
                return int(text)
    return next((_STATUS_BY_CODE[code] for code in complaint.codes & _STATUS_BY_CODE.keys()), None)


def _why_of(complaint: Complaint) -> Why:
    if is_overflow(complaint):
        return "too long"
    for code in complaint.codes & _BY_CODE.keys():
        return _BY_CODE[code]
    if complaint.status in _WORDED:
        for words, why in _WORDS:
            if words.search(complaint.text):
                return why
    return _why_of_status(complaint, complaint.status)


def _why_of_status(complaint: Complaint, status: int | None) -> Why:
    if status is None:
        return "overloaded" if "overloaded" in " ".join(complaint.codes) else "error"
    if complaint.web_page and status in {HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN}:
        return "not openai"
    if status == HTTPStatus.FORBIDDEN and is_about_content(complaint):
        return "refused"  # OpenRouter
    if status < HTTPStatus.BAD_REQUEST:
        return "not openai"  # a redirect
    if status > HTTPStatus.INTERNAL_SERVER_ERROR:
        return _BY_STATUS.get(status, "overloaded")
    return _BY_STATUS.get(status, "refused")


def _why_of_transport(error: Exception) -> Why:
    if isinstance(error, openai.APITimeoutError | httpx2.TimeoutException):
        # The transport reports every failed connection as a time-out.
        return "stalled" if isinstance(_root(error), TimeoutError) else "unreachable"
    connection = openai.APIConnectionError | httpx2.TransportError | ssl.SSLError
    if isinstance(error, connection | UnicodeError):  # a part of the host name is too long
        return "unreachable"
    return "error" if isinstance(error, openai.APIError) else "corrupt"


def _root(error: BaseException) -> BaseException:
    """The error of aiohttp that those of httpx and openai were raised from."""
    while not isinstance(error, aiohttp.ClientError) and error.__cause__ is not None:
        error = error.__cause__
    return error
