"""The dialects of OpenAI-compatible endpoints: a table, not code.

Pure. The source is the documentation of each endpoint, as of November 2026.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlsplit

DialectName = Literal["openai", "ollama", "vllm", "llamacpp"]

OLLAMA_PORT: Final = 11434
OPENAI_URL: Final = "https://api.openai.com/v1"
OPENAI_DEFAULT_MODEL: Final = "gpt-6-luna"
DEMO_MODEL: Final = "demo: SmolLM2-135M"
"""The name of the embedded model in the journal."""

FIRST_WITH_BREAKPOINTS: Final = (5, 6)
"""Since GPT-5.6 prompts are cached only up to a breakpoint."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """The differences between endpoints.

    `sampling` is sent unchanged; newer models of OpenAI refuse any. `close_connection`: the server
    closes each connection after a streamed reply, although it announces to keep it.
    """

    max_tokens_field: str
    sampling: Mapping[str, Any] = field(default_factory=dict)
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
"""The server of llama.cpp. Its model rambles at other temperatures and loops without a penalty."""

DEMO_SYSTEM_PROMPT: Final = (
    "You are a helpful assistant. You answer in one sentence, speaking to the user as 'you'."
)
"""With this prompt the demo model stays on the subject."""

_OPENAI_VERSION: Final = re.compile(r"(?:^|/)gpt-(\d+)(?:\.(\d+))?")


def dialect_of(base_url: str | None) -> DialectName:
    """The dialect that an address suggests; without an address it is OpenAI's."""
    if is_openai(base_url) or (urlsplit(base_url or "").hostname or "").endswith("openai.com"):
        return "openai"
    try:
        port = urlsplit(base_url or "").port
    except ValueError:
        port = None
    return "ollama" if port == OLLAMA_PORT else "vllm"


def is_openai(base_url: str | None) -> bool:
    """Whether this is OpenAI's own API, the only one that gets OpenAI's own fields."""
    host = urlsplit(base_url or OPENAI_URL).hostname or ""
    return host == "api.openai.com" or host.endswith(".api.openai.com")  # eu.api.openai.com


def has_breakpoints(model: str) -> bool:
    """Whether a model of OpenAI caches prompts up to breakpoints."""
    found = _OPENAI_VERSION.search(model)
    return found is not None and (int(found[1]), int(found[2] or 0)) >= FIRST_WITH_BREAKPOINTS
