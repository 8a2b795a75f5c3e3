"""Reads one chunk of an answer, in every shape in which endpoints send it.

Pure. It ignores shapes that no endpoint should send, and never fails on them.
"""

import re
from typing import Any, Final, Literal, NamedTuple

from dataflow.model.errors import safe_code

Chunk = dict[str, Any]
Other = Literal["", "tools", "not text"]

_BROKEN_OFF: Final = frozenset(
    {"error", "abort", "aborted", "cancelled", "canceled", "failed", "timeout", "incomplete",
     "insufficient_system_resource", "network_error"}
)  # fmt: skip
"""Finish reasons of incomplete answers: OpenRouter, vLLM, DeepSeek."""

_REASONING_FIELDS: Final = (
    "reasoning_content", "reasoning", "thinking", "reasoning_details", "thinking_blocks",
)  # fmt: skip
"""DeepSeek and vLLM; OpenRouter and Groq; Ollama; OpenRouter; LiteLLM."""

_REASONING_TYPE: Final = re.compile(r"think|thought|reason")
"""Matches the types of parts that hold reasoning."""

_NO_TEXT: Final = ("images", "audio")
_TOOLS: Final = ("tool_calls", "function_call")


class Piece(NamedTuple):
    """The contents of one chunk."""

    text: str
    reasoning_chars: int
    """Characters of reasoning outside the text."""
    finish: str | None
    other: Other = ""
    """The kind of content that cannot be shown."""


def error_in(chunk: Chunk) -> object | None:
    """The error that a chunk reports instead of text. vLLM leaves out the outer object."""
    error: object = chunk.get("error")
    if error:
        return error if isinstance(error, dict | list | str) else chunk
    is_error = chunk.get("object") == "error" or chunk.get("type") == "error"
    return chunk if is_error and not chunk.get("choices") else None


def is_of_other_api(chunk: Chunk) -> bool:
    """Whether a chunk is of another API: Anthropic's, Ollama's, Google's, or OpenAI's newer one."""
    kind = chunk.get("type")
    return (
        (isinstance(kind, str) and kind.startswith(("message_", "content_block_", "response.")))
        or (isinstance(chunk.get("done"), bool) and not chunk.keys().isdisjoint(_OLLAMA))
        or isinstance(chunk.get("candidates"), list)
    )


_OLLAMA: Final = frozenset({"message", "response"})


def piece_of(chunk: Chunk) -> Piece:
    """The contents of a chunk of any shape. The chunk with the usage has no choices.

    A complete completion has a `message` instead of a `delta`, and an old one only a `text`.
    """
    choices = chunk.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        return Piece("", 0, None)
    delta = choice.get("delta")
    if delta is None:
        delta = choice.get("message")
    if delta is None:
        delta = {"content": choice.get("text")}
    said = _Said()
    if isinstance(delta, dict):
        if len(delta) == 1 and isinstance(content := delta.get("content"), str):
            said.texts.append(content)  # the common case
        else:
            said.add_delta(delta)
    finish = choice.get("finish_reason")
    text = "".join(said.texts).replace("\0", "")
    # Some endpoints send an empty reason with every chunk.
    return Piece(
        text, said.reasoning_chars, safe_code(finish).lower() if finish else None, said.other
    )


def is_broken_off(finish: str | None) -> bool:
    """Whether an answer with this finish reason is incomplete."""
    return finish is None or finish in _BROKEN_OFF


class _Said:
    """The accumulated contents of a delta."""

    __slots__ = ("other", "reasoning_chars", "texts")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.reasoning_chars = 0
        self.other: Other = ""

    def add_delta(self, delta: dict[str, Any]) -> None:
        """Adds the text, or the refusal, which is the answer if there is one."""
        self._add(delta.get("content"))
        self._add(delta.get("refusal"))
        for name in _REASONING_FIELDS:
            if reasoning := delta.get(name):
                self.reasoning_chars += len(reasoning) if isinstance(reasoning, str) else 1
                break
        if any(delta.get(name) for name in _TOOLS):
            self.other = "tools"
        elif any(delta.get(name) for name in _NO_TEXT):
            self.other = "not text"
            audio = delta.get("audio")
            self._add(audio.get("transcript") if isinstance(audio, dict) else None)

    def _add(self, content: object) -> None:
        """Adds a text, or the texts in a list of typed parts."""
        if isinstance(content, str):
            self.texts.append(content)
        elif content is not None:
            for part in content if isinstance(content, list) else [content]:
                self._add_part(part)

    def _add_part(self, part: object) -> None:
        if isinstance(part, str):
            self.texts.append(part)
        elif isinstance(part, int | float) and not isinstance(part, bool):
            self.texts.append(str(part))
        elif isinstance(part, dict) and part:
            kind = str(part.get("type", "text"))
            if _REASONING_TYPE.search(kind):
                self.reasoning_chars += max(1, _length(part))
                return
            text = part.get("refusal" if kind == "refusal" else "text")
            text = text.get("value") if isinstance(text, dict) else text
            if isinstance(text, str):
                self.texts.append(text)
            elif "tool" in kind or "function" in kind:
                self.other = "tools"
            elif "text" not in kind:
                self.other = "not text"


def _length(part: dict[str, Any]) -> int:
    return sum(len(value) for value in part.values() if isinstance(value, str))
