"""`threadwax doctor`: whether the model's endpoint answers, takes the key and has the model.

Asks for the list of models only, which costs nothing, and never prints the key.
"""

import json
from http import HTTPStatus
from typing import Final

import aiohttp

from dataflow.model.in_words import OPENAI_URL, REAL
from ops.findings import Finding, Patient
from shared.nats_address import without_credentials

MODEL_TIMEOUT_S: Final = 10.0


async def model(patient: Patient) -> list[Finding]:
    """Whether the model's endpoint answers and takes the key."""
    settings = patient.settings
    if settings.demo_model:
        try:
            endpoint = json.loads(settings.embedded_model_file.read_text())
        except (OSError, ValueError):
            advice = f"start `threadwax up` or `threadwax model`; {REAL}"
            return [Finding("fail", "model", "the demo model does not run", advice)]
        finding = await _endpoint(endpoint["base_url"], endpoint["api_key"])
        if finding.grade != "ok":
            return [finding]
        advice = REAL
        return [Finding("warn", "model", "the demo model answers: small, often wrong", advice)]
    key = settings.openai_api_key
    return [
        await _endpoint(
            settings.openai_base_url or OPENAI_URL,
            key.get_secret_value() if key else "",
            settings.model,
        )
    ]


async def _endpoint(base_url: str, key: str, name: str | None = None) -> Finding:
    url = f"{base_url.rstrip('/')}/models"
    shown = without_credentials(base_url)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    timeout = aiohttp.ClientTimeout(total=MODEL_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, headers=headers) as response,
        ):
            status, body = response.status, await response.text()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        advice = "is it running, and is OPENAI_BASE_URL right (most end in /v1)?"
        return Finding("fail", "model", f"{shown}: {type(error).__name__}", advice)
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        advice = "OPENAI_API_KEY is wrong, expired, or not for this endpoint"
        return Finding("fail", "model", f"{shown} refuses the key ({status})", advice)
    if status == HTTPStatus.NOT_FOUND:
        advice = "OPENAI_BASE_URL is not an OpenAI-compatible endpoint; most end in /v1"
        return Finding("fail", "model", f"{shown} has no list of models (404)", advice)
    if status >= HTTPStatus.BAD_REQUEST:
        return Finding("warn", "model", f"{shown} answers {status}", "try again later")
    if name and name not in (known := _model_names(body)) and known:
        advice = f"set THREADWAX_MODEL to one of: {', '.join(sorted(known)[:10])}"
        return Finding("fail", "model", f"{shown} has no model {name!r}", advice)
    return Finding("ok", "model", f"{shown} answers{f' and has {name}' if name else ''}")


def _model_names(body: str) -> set[str]:
    try:
        return {str(entry["id"]) for entry in json.loads(body)["data"]}
    except (ValueError, KeyError, TypeError):
        return set()
