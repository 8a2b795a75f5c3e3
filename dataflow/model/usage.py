"""The tokens of a call, in any of the shapes in which endpoints report them.

Pure. A number that is not reported is None, never 0.
"""

from collections.abc import Iterator
from typing import Any, Final

from shared.replies import Usage

COUNT_LIMIT: Final = 10**9
"""Largest plausible number of tokens of one call."""

COUNT_DIGITS: Final = 10

_PROMPT: Final = (("prompt_tokens",), ("input_tokens",))
_COMPLETION: Final = (("completion_tokens",), ("output_tokens",))
_CACHED: Final = (
    ("prompt_tokens_details", "cached_tokens"),  # OpenAI, llama.cpp, vLLM, OpenRouter, Ollama
    ("input_tokens_details", "cached_tokens"),
    ("prompt_cache_hit_tokens",),  # DeepSeek
    ("cache_read_input_tokens",),  # Anthropic's wording, in proxies
    ("cached_tokens",),  # Moonshot
    ("num_cached_tokens",),  # Mistral
)
_REASONING: Final = (
    ("completion_tokens_details", "reasoning_tokens"),
    ("output_tokens_details", "reasoning_tokens"),
    ("reasoning_tokens",),  # SGLang, xAI
)

Path = tuple[str, ...]


def usage_of(chunk: dict[str, Any], before: Usage | None = None) -> Usage | None:
    """The tokens of the call that this chunk reports, or else those reported `before`.

    A later report replaces an earlier one, but not the numbers that it leaves out: some gateways
    report the prompt at the beginning and the answer at the end.
    """
    usage = next(_reports(chunk), {})
    timings = chunk.get("timings")
    timings = timings if isinstance(timings, dict) else {}
    if not usage and not timings:
        return before
    cached = _count(usage, _CACHED)
    if cached is None:
        cached = _count(timings, (("cache_n",),))
    prompt = _count(usage, _PROMPT)
    if prompt is None and (processed := _count(timings, (("prompt_n",),))) is not None:
        prompt = processed + (cached or 0)
    completion = _count(usage, _COMPLETION)
    if completion is None:
        completion = _count(timings, (("predicted_n",),))
    reasoning = _count(usage, _REASONING)
    known = before or Usage(prompt_tokens=0, completion_tokens=0)
    return Usage(
        prompt_tokens=known.prompt_tokens if prompt is None else prompt,
        completion_tokens=known.completion_tokens if completion is None else completion,
        cached_tokens=known.cached_tokens if cached is None else cached,
        reasoning_tokens=known.reasoning_tokens if reasoning is None else reasoning,
    )


def _reports(chunk: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The counts in a chunk: in its own field, in a choice (Moonshot), or by vendor (Groq)."""
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
    """The first of these values that is a plausible number of tokens."""
    for path in paths:
        value: Any = usage
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, str) and value.isdecimal() and len(value) <= COUNT_DIGITS:
            value = int(value)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and 0 <= value <= COUNT_LIMIT:
            return int(value)
    return None
