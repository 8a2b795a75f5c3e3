"""The tokens of a call, from every shape in which endpoints report them.

Pure. A number that is not reported is None, and never 0.
"""

from collections.abc import Iterator
from typing import Any, Final

from shared.messages import Usage

COUNT_LIMIT: Final = 10**9
"""Tokens of one call; beyond it an endpoint counts something else."""

_PROMPT: Final = (("prompt_tokens",), ("input_tokens",))
_COMPLETION: Final = (("completion_tokens",), ("output_tokens",))
_CACHED: Final = (
    ("prompt_tokens_details", "cached_tokens"),  # OpenAI, llama.cpp, vLLM, OpenRouter, Ollama
    ("input_tokens_details", "cached_tokens"),
    ("prompt_cache_hit_tokens",),  # DeepSeek
    ("cache_read_input_tokens",),  # Anthropic's wording, in proxies
    ("cached_tokens",),  # Moonshot
)
_REASONING: Final = (
    ("completion_tokens_details", "reasoning_tokens"),
    ("output_tokens_details", "reasoning_tokens"),
    ("reasoning_tokens",),  # SGLang, xAI
)

Path = tuple[str, ...]


def usage_of(chunk: dict[str, Any]) -> Usage | None:
    """The tokens that the call took, if this chunk reports them."""
    for usage in _reports(chunk):
        return Usage(
            prompt_tokens=_count(usage, _PROMPT) or 0,
            completion_tokens=_count(usage, _COMPLETION) or 0,
            cached_tokens=_count(usage, _CACHED),
            reasoning_tokens=_count(usage, _REASONING),
        )
    return None


def _reports(chunk: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Where a chunk can hold the counts: on its own, by choice (Moonshot), by vendor (Groq)."""
    if usage := chunk.get("usage"):
        if isinstance(usage, dict):
            yield usage
        return
    if groq := chunk.get("x_groq"):
        if isinstance(groq, dict) and isinstance(usage := groq.get("usage"), dict) and usage:
            yield usage
        return
    choices = chunk.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(choice, dict) and isinstance(usage := choice.get("usage"), dict) and usage:
        yield usage


def _count(usage: dict[str, Any], paths: tuple[Path, ...]) -> int | None:
    """The first of these numbers that is a number of tokens."""
    for path in paths:
        value: Any = usage
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and 0 <= value <= COUNT_LIMIT:
            return int(value)
    return None
