"""Checks at the start whether the configured endpoints answer, with one cheap request to each.

It must never fail or delay the start, ask the model anything, or print a key.
"""

import asyncio
import json
import os
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from dataflow.model.dialects import DEMO, DEMO_MODEL, OPENAI_URL
from dataflow.model.endpoint import Endpoint

CHECK_S: Final = 3.0
BODY_LIMIT_BYTES: Final = 4 << 20
"""OpenRouter's list of models is 1 MB."""

NAMES_SHOWN: Final = 5
LOCATION_CHARS: Final = 200
_REDIRECTS: Final = (300, 400)

_WINDOWS: Final = ("max_model_len", "context_length", "context_window", "max_context_length")
"""vLLM and SGLang; OpenRouter and Together; Groq; Mistral."""

_RETRIED: Final = "questions wait and are tried again"


@dataclass(frozen=True, slots=True)
class SettingNames:
    """The names of the settings for an endpoint."""

    base_url: str
    api_key: str
    model: str


FIRST: Final = SettingNames("OPENAI_BASE_URL", "OPENAI_API_KEY", "THREADWAX_MODEL")
FALLBACK: Final = SettingNames(
    "OPENAI_FALLBACK_BASE_URL", "OPENAI_FALLBACK_API_KEY", "THREADWAX_FALLBACK_MODEL"
)
EXPERIMENT: Final = SettingNames("its base_url", "api_key", "model")


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of a check. `fault` is empty if there is none; `passing`: it may go away.

    `context_tokens` is the model's window, if the endpoint reports it.
    """

    fault: str = ""
    remedy: str = ""
    passing: bool = False
    context_tokens: int | None = None

    @property
    def complaint(self) -> str:
        """The fault and its remedy in one line."""
        if not self.fault:
            return ""
        return f"{self.fault}; {_RETRIED}" if self.passing else f"{self.fault}: {self.remedy}"


@dataclass(frozen=True, slots=True)
class StartReport:
    """The results for all endpoints: one line about the models, and one per fault."""

    models: str
    complaints: tuple[str, ...] = ()
    context_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: Any
    """The JSON of the answer; None if it is not JSON."""
    location: str = ""
    """The target of a redirect."""


async def checked(first: Endpoint | None, fallback: Endpoint | None) -> StartReport:
    """Checks all endpoints at the same time. `first` is None for the demo model."""
    endpoints = [(one, setting) for one, setting in ((first, FIRST), (fallback, FALLBACK)) if one]
    results = await asyncio.gather(*(check(one, setting) for one, setting in endpoints))
    models = (
        f"model {first.model} at {first.address}" if first else f"{DEMO_MODEL}, on this machine"
    )
    if fallback is not None:
        models += f"; fallback {fallback.model} at {fallback.address}"
    complaints = tuple(result.complaint for result in results if result.complaint)
    return StartReport(models, complaints, results[0].context_tokens if first else None)


async def check(
    endpoint: Endpoint, setting: SettingNames = FIRST, *, within_s: float = CHECK_S
) -> CheckResult:
    """Asks an endpoint for its models; reports a fault together with the setting to change."""
    url = (endpoint.base_url or OPENAI_URL).rstrip("/")
    try:
        async with (
            asyncio.timeout(within_s),
            aiohttp.ClientSession(trust_env=True) as session,
        ):
            answer = await _models(session, url, endpoint.api_key)
            if _entries(answer) is None and not urlsplit(url).path.endswith("/v1"):
                inner = await _models(session, f"{url}/v1", endpoint.api_key)
                if _entries(inner) is not None:
                    return CheckResult(
                        f"{endpoint.address} is not quite right",
                        f"set {setting.base_url} to {endpoint.address.rstrip('/')}/v1",
                    )
    except TimeoutError:
        cause = f"no answer within {within_s:g} s"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        cause = _cause(error, setting)
    else:
        return _judged(endpoint, setting, answer)
    return CheckResult(
        f"cannot reach {endpoint.address}: {cause}",
        f"start it, or check {setting.base_url}, which usually ends in /v1",
        passing=True,
    )


async def _models(session: aiohttp.ClientSession, url: str, key: str) -> _Answer:
    # aiohttp refuses a key together with credentials in the address.
    headers = {} if "@" in urlsplit(url).netloc else {"Authorization": f"Bearer {key}"}
    # Redirects are not followed here, because they are not followed for questions.
    options: dict[str, Any] = {"headers": headers, "allow_redirects": False}
    async with session.get(f"{url}/models", **options) as response:
        body = await response.content.read(BODY_LIMIT_BYTES)
        while len(body) < BODY_LIMIT_BYTES and (more := await response.content.read(1 << 16)):
            body += more
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    return _Answer(response.status, found, response.headers.get("Location", ""))


def _entries(answer: _Answer) -> list[dict[str, Any]] | None:
    """The list of models; None if the answer is something else."""
    data = answer.body.get("data") if isinstance(answer.body, dict) else answer.body
    if answer.status != HTTPStatus.OK or not isinstance(data, list):
        return None
    return [entry for entry in data if isinstance(entry, dict)]


def _judged(endpoint: Endpoint, setting: SettingNames, answer: _Answer) -> CheckResult:
    where, status = endpoint.address, answer.status
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return CheckResult(f"{where} refuses the key ({status})", f"set another {setting.api_key}")
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        fault = f"{where} is busy or still starting ({status})"
        return CheckResult(fault, "try again later", passing=True)
    if _REDIRECTS[0] <= status < _REDIRECTS[1]:
        to = _shown(answer.location)
        fault = f"{where} sends us to {to}, and redirects are not followed"
        return CheckResult(fault, f"set {setting.base_url} to the address that answers itself")
    entries = _entries(answer)
    if entries is None:
        return CheckResult(
            f"{where} has no list of models ({status}), so it may not be an OpenAI-compatible "
            "endpoint",
            f"check {setting.base_url}, which usually ends in /v1",
        )
    known = {_plain(str(entry.get("id", ""))): entry for entry in entries}
    entry = known.get(_plain(endpoint.model))
    if entry is None and known and endpoint.dialect is not DEMO:
        names = ", ".join(sorted(name for name in known if name.isprintable())[:NAMES_SHOWN])
        return CheckResult(
            f"{where} does not list the model {endpoint.model}",
            f"set {setting.model} to one of its {len(known)} models, for example {names}",
        )
    return CheckResult(context_tokens=_window(entry or {}))


def _shown(location: str) -> str:
    """The target of a redirect, without credentials and query."""
    try:
        parts = urlsplit(location if location.isprintable() else "")
    except ValueError:
        return "another address"
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    return address.removesuffix("/models")[:LOCATION_CHARS] or "another address"


def _plain(name: str) -> str:
    """The name of a model without the parts that Gemini and Ollama add in their lists."""
    return name.removeprefix("models/").removesuffix(":latest")


def _window(entry: dict[str, Any]) -> int | None:
    values = [entry.get(name) for name in _WINDOWS]
    return next((v for v in values if isinstance(v, int) and v > 0 and v is not True), None)


def _cause(error: Exception, setting: SettingNames) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its host name is not known"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return "no trusted TLS connection is possible"
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError | ValueError):
        return f"the address in {setting.base_url} must begin with http:// or https://"
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return (
        "it does not speak HTTP"
        if isinstance(error, aiohttp.ClientResponseError)
        else "the connection broke off"
    )
