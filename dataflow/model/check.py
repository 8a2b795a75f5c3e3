"""Whether the configured endpoints answer: one cheap request to each at the start.

It must never fail or hold up the start, ask the model anything, or print a key.
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
class Named:
    """The settings that an endpoint comes from."""

    base_url: str
    api_key: str
    model: str


FIRST: Final = Named("OPENAI_BASE_URL", "OPENAI_API_KEY", "THREADWAX_MODEL")
FALLBACK: Final = Named(
    "OPENAI_FALLBACK_BASE_URL", "OPENAI_FALLBACK_API_KEY", "THREADWAX_FALLBACK_MODEL"
)


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found. `fault` is empty if all is well, and `passing` if it may go by itself.

    `context_tokens` is the model's window, if the endpoint reports it.
    """

    fault: str = ""
    remedy: str = ""
    passing: bool = False
    context_tokens: int | None = None

    @property
    def complaint(self) -> str:
        """Fault and remedy in one line."""
        if not self.fault:
            return ""
        return f"{self.fault}; {_RETRIED}" if self.passing else f"{self.fault}: {self.remedy}"


@dataclass(frozen=True, slots=True)
class Found:
    """What the checks of all endpoints found: one line for the start, and one per complaint."""

    models: str
    complaints: tuple[str, ...] = ()
    context_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: Any
    """The JSON of the answer; None if it is something else."""
    location: str = ""
    """Where it sends us."""


async def checked(first: Endpoint | None, fallback: Endpoint | None) -> Found:
    """Checks all endpoints at once; the first one is None for the demo model."""
    endpoints = [(one, named) for one, named in ((first, FIRST), (fallback, FALLBACK)) if one]
    results = await asyncio.gather(*(check(one, named) for one, named in endpoints))
    models = (
        f"model {first.model} at {first.address}" if first else f"{DEMO_MODEL}, on this machine"
    )
    if fallback is not None:
        models += f"; fallback {fallback.model} at {fallback.address}"
    complaints = tuple(result.complaint for result in results if result.complaint)
    return Found(models, complaints, results[0].context_tokens if first else None)


async def check(endpoint: Endpoint, named: Named = FIRST, *, within_s: float = CHECK_S) -> Checked:
    """Asks an endpoint for its models, and says what is wrong, with the settings to change."""
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
                    return Checked(
                        f"{endpoint.address} is not quite right",
                        f"set {named.base_url} to {endpoint.address.rstrip('/')}/v1",
                    )
    except TimeoutError:
        cause = f"no answer within {within_s:g} s"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        cause = _cause(error, named)
    else:
        return _judged(endpoint, named, answer)
    return Checked(
        f"cannot reach {endpoint.address}: {cause}",
        f"start it, or check {named.base_url}, which usually ends in /v1",
        passing=True,
    )


async def _models(session: aiohttp.ClientSession, url: str, key: str) -> _Answer:
    # aiohttp refuses a key together with credentials in the address.
    headers = {} if "@" in urlsplit(url).netloc else {"Authorization": f"Bearer {key}"}
    # Not followed: questions are not, because another host is not to be told what people say.
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
    """The list of models; None if it is not one."""
    data = answer.body.get("data") if isinstance(answer.body, dict) else answer.body
    if answer.status != HTTPStatus.OK or not isinstance(data, list):
        return None
    return [entry for entry in data if isinstance(entry, dict)]


def _judged(endpoint: Endpoint, named: Named, answer: _Answer) -> Checked:
    where, status = endpoint.address, answer.status
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return Checked(f"{where} refuses the key ({status})", f"set another {named.api_key}")
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        fault = f"{where} is busy or still starting ({status})"
        return Checked(fault, "try again later", passing=True)
    if _REDIRECTS[0] <= status < _REDIRECTS[1]:
        to = _shown(answer.location)
        fault = f"{where} sends us to {to}, and redirects are not followed"
        return Checked(fault, f"set {named.base_url} to the address that answers itself")
    entries = _entries(answer)
    if entries is None:
        return Checked(
            f"{where} has no list of models ({status}), so it may not be an OpenAI-compatible "
            "endpoint",
            f"check {named.base_url}, which usually ends in /v1",
        )
    known = {_plain(str(entry.get("id", ""))): entry for entry in entries}
    entry = known.get(_plain(endpoint.model))
    if entry is None and known and endpoint.dialect is not DEMO:
        names = ", ".join(sorted(name for name in known if name.isprintable())[:NAMES_SHOWN])
        return Checked(
            f"{where} does not list the model {endpoint.model}",
            f"set {named.model} to one of its {len(known)} models, for example {names}",
        )
    return Checked(context_tokens=_window(entry or {}))


def _shown(location: str) -> str:
    """An address of the endpoint's as it may be shown."""
    try:
        parts = urlsplit(location if location.isprintable() else "")
    except ValueError:
        return "another address"
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
    return address.removesuffix("/models")[:LOCATION_CHARS] or "another address"


def _plain(name: str) -> str:
    """A model's name as different parts of one endpoint write it: Gemini's, Ollama's."""
    return name.removeprefix("models/").removesuffix(":latest")


def _window(entry: dict[str, Any]) -> int | None:
    values = [entry.get(name) for name in _WINDOWS]
    return next((v for v in values if isinstance(v, int) and v > 0 and v is not True), None)


def _cause(error: Exception, named: Named) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its host name is not known"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return "no trusted TLS connection is possible"
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError | ValueError):
        return f"the address in {named.base_url} must begin with http:// or https://"
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return (
        "it does not speak HTTP"
        if isinstance(error, aiohttp.ClientResponseError)
        else ("the connection broke off")
    )
