"""How each kind of OpenAI-compatible endpoint wants to be spoken to: a table, not code.

Pure. Sources are the endpoints' own documentation, read in November 2026.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

DialectName = Literal["openai", "ollama", "vllm", "llamacpp"]

OLLAMA_PORT: Final = 11434
OPENAI_DEFAULT_MODEL: Final = "gpt-6-luna"
DEMO_MODEL: Final = "demo: SmolLM2-135M"
"""The name under which the embedded model's replies stand in the journal."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs from one endpoint to the next.

    `sampling` is sent as it stands: OpenAI's newer models refuse any. `close_connection`: the
    server closes after each streamed reply while it promises to keep the connection.
    """

    max_tokens_field: str
    sampling: Mapping[str, float] = field(default_factory=dict)
    close_connection: bool = False


DIALECTS: Final[dict[DialectName, Dialect]] = {
    "openai": Dialect("max_completion_tokens"),
    "ollama": Dialect("max_tokens"),
    "vllm": Dialect("max_tokens"),
    "llamacpp": Dialect("max_tokens", close_connection=True),
}

DEMO: Final = Dialect(
    "max_tokens", sampling={"temperature": 0.0, "repeat_penalty": 1.1}, close_connection=True
)
"""llama.cpp's server; these weights ramble at other temperatures and loop without a penalty."""

DEMO_SYSTEM_PROMPT: Final = (
    "You are a helpful assistant. You answer in one sentence, speaking to the user as 'you'."
)
"""Of the dozen that were tried, the one under which these weights stay on the subject."""

OVERFLOW_CODES: Final = frozenset({"context_length_exceeded", "exceed_context_size_error"})
"""OpenAI and vLLM; llama.cpp."""


def dialect_of(base_url: str | None) -> DialectName:
    """The dialect that an address suggests; without one, OpenAI's own."""
    if base_url is None:
        return "openai"
    parts = urlsplit(base_url)
    if (parts.hostname or "").endswith("openai.com"):
        return "openai"
    if parts.port == OLLAMA_PORT:
        return "ollama"
    return "vllm"
