"""The model and its address in a sentence for people. Pure; it must never show a key."""

from typing import Final

from dataflow.model.dialects import DEMO_MODEL, OPENAI_DEFAULT_MODEL, OPENAI_URL
from shared.model_settings import BASE, ModelSettings
from shared.nats_address import without_credentials

REAL: Final = "for a real one set OPENAI_API_KEY, or OPENAI_BASE_URL and THREADWAX_MODEL"


def model_in_words(settings: ModelSettings) -> str:
    """The model of these settings, and which settings are missing."""
    if settings.adapter == BASE:
        return f"{DEMO_MODEL}, on this machine, without an adapter; {REAL}"
    if settings.adapter is not None:
        return f"{DEMO_MODEL}, on this machine, with the adapter {settings.adapter}"
    if settings.demo_model:
        return f"{DEMO_MODEL}, on this machine: small and often wrong; {REAL}"
    where = without_credentials(settings.openai_base_url or OPENAI_URL)
    name = settings.model or f"{OPENAI_DEFAULT_MODEL} (THREADWAX_MODEL is not set)"
    key = "" if settings.openai_api_key else ", without a key (OPENAI_API_KEY is not set)"
    return f"{name} at {where}{key}"
