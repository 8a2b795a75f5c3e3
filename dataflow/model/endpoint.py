"""The endpoints and the context window that the settings describe.

Reads the file of the demo model; opens no connection.
"""

import json
import secrets
from dataclasses import dataclass, field, replace
from typing import Final

from pydantic import SecretStr

from dataflow.model.dialects import (
    DEMO,
    DEMO_MODEL,
    DEMO_SYSTEM_PROMPT,
    DIALECTS,
    OPENAI_DEFAULT_MODEL,
    OPENAI_URL,
    Dialect,
    dialect_of,
    is_openai,
)
from dataflow.tokens import Window
from shared.experiments import Experiment
from shared.model_settings import BASE, LOCAL
from shared.private_file import private_file, private_text
from shared.settings import Settings

DEMO_CONTEXT_TOKENS: Final = 2048
"""One slot of the embedded server."""

DEMO_ANSWER_TOKENS: Final = 200
"""These weights rarely say anything new after that."""

DEFAULT_SYSTEM_PROMPT: Final = "You are a helpful assistant."
DEFAULT_CONTEXT_TOKENS: Final = 32_768
ANSWER_SHARE: Final = 4
"""A quarter of the window is for the answer, unless the settings say otherwise."""

SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of a model and its dialect.

    `secret` turns users into pseudonyms; without it, the endpoint gets nothing about them.
    """

    base_url: str | None
    api_key: str = field(repr=False)
    model: str
    dialect: Dialect
    reasoning_effort: str | None = None
    secret: bytes | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        """The address without credentials, for people."""
        scheme, separator, rest = (self.base_url or OPENAI_URL).rpartition("://")
        return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def window_of(settings: Settings, *, reported_tokens: int | None = None) -> Window:
    """The context window that the settings describe, at most what the endpoint reports."""
    if settings.demo_model:
        context, answer, prompt = DEMO_CONTEXT_TOKENS, DEMO_ANSWER_TOKENS, DEMO_SYSTEM_PROMPT
    else:
        context = settings.context_tokens or min(
            DEFAULT_CONTEXT_TOKENS, reported_tokens or DEFAULT_CONTEXT_TOKENS
        )
        answer, prompt = context // ANSWER_SHARE, DEFAULT_SYSTEM_PROMPT
    return Window(
        settings.context_tokens or context,
        settings.answer_tokens or answer,
        settings.system_prompt or prompt,
        summaries=settings.summaries and not settings.demo_model,
    )


def endpoint_of(settings: Settings, *, to_ask: bool = True) -> Endpoint:
    """The current endpoint. Unless it is used `to_ask` questions, nothing is written.

    Raises:
        OSError: the demo model is not running, or the secret cannot be stored.
    """
    if settings.demo_model:
        left = private_text(settings.embedded_model_file)
        if left is None:
            raise FileNotFoundError("the demo model is not running")
        running = json.loads(left)
        # The name goes into the journal, so that answers of an adapter can be told from the others.
        model = DEMO_MODEL if settings.adapter is None else f"{LOCAL}{settings.adapter}"
        return Endpoint(running["base_url"], running["api_key"], model, DEMO)
    found = _at(
        settings, settings.openai_base_url, settings.openai_api_key, settings.model, to_ask=to_ask
    )
    return replace(found, dialect=DIALECTS[settings.dialect]) if settings.dialect else found


def experiment_endpoint(settings: Settings, experiment: Experiment) -> Endpoint:
    """The endpoint that an experiment asks.

    Raises:
        OSError: the embedded server does not run or has not loaded the adapter, or the secret
            cannot be stored.
    """
    url = experiment.base_url
    if url is not None:
        return _at(settings, url, experiment.api_key, experiment.model)
    usual = endpoint_of(settings)
    name = experiment.model or usual.model
    if not settings.demo_model:
        return replace(usual, model=name)
    return replace(usual, model=name, dialect=_with_adapter(settings, name.removeprefix(LOCAL)))


def _with_adapter(settings: Settings, adapter: str) -> Dialect:
    """The dialect of the embedded server with one of the adapters that it has loaded, or none."""
    if adapter == BASE:
        return replace(DEMO, sampling={**DEMO.sampling, "lora": [{"id": 0, "scale": 0.0}]})
    running = json.loads(private_text(settings.embedded_model_file) or "{}")
    number = running.get("adapters", {}).get(adapter)
    if number is None:
        raise FileNotFoundError(f"the demo model was started without the adapter {adapter}")
    return replace(DEMO, sampling={**DEMO.sampling, "lora": [{"id": number, "scale": 1.0}]})


def fallback_of(settings: Settings, *, to_ask: bool = True) -> Endpoint | None:
    """The endpoint that is asked if the first one fails, if any; `to_ask` as in `endpoint_of`.

    If only a model is set, it is another model at the first endpoint.

    Raises:
        OSError: the secret cannot be stored.
    """
    key, url = settings.fallback_api_key, settings.fallback_base_url
    if key is None and url is None:
        if settings.fallback_model is None or settings.demo_model:
            return None
        return replace(endpoint_of(settings, to_ask=to_ask), model=settings.fallback_model)
    return _at(settings, url, key, settings.fallback_model, to_ask=to_ask)


def _at(
    settings: Settings,
    url: str | None,
    key: SecretStr | None,
    model: str | None,
    *,
    to_ask: bool = True,
) -> Endpoint:
    """The endpoint at an address; None: OpenAI's. Without a `model`, it is the configured one."""
    return Endpoint(
        url,
        key.get_secret_value() if key else "none",  # local servers take any
        model or settings.model or OPENAI_DEFAULT_MODEL,
        DIALECTS[dialect_of(url)],
        settings.reasoning_effort,
        _secret(settings) if to_ask and is_openai(url) else None,
    )


def _secret(settings: Settings) -> bytes:
    """The secret for pseudonyms, made once and stored in the data folder."""
    file = settings.home / "model" / "pseudonyms"
    text = private_text(file)
    if text is None:
        text = secrets.token_hex(SECRET_BYTES)
        private_file(file, text)
    return text.encode()
