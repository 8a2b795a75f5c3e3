"""Notes in brackets at the end of an answer, for example that it was cut off.

Pure. Notes are for people: `without_note` removes them before the model gets the answer again, and
would imitate them.
"""

import re
from typing import Final

LENGTH: Final = "\n\n[This is as long as an answer may be. Ask me to go on.]"
FILTERED: Final = "\n\n[The content filter of my language model ended the answer here.]"
TOOLS: Final = (
    "\n\n[My language model wanted to use a tool here, and I have none for it. "
    "Ask it to go on in words.]"
)
FALLBACK: Final = (
    "\n\n[{model} gave this answer, because my usual language model is not available.]"
)

BY_FINISH: Final = {
    **dict.fromkeys(
        ("length", "max_tokens", "max_output_tokens", "max_new_tokens", "model_length",
         "max_length", "token_limit", "error_limit", "context_length",
         "model_context_window_exceeded", "maxpredictedtokensreached", "contextlengthreached"),
        LENGTH,
    ),
    **dict.fromkeys(
        ("content_filter", "content-filter", "contentfilter", "safety", "image_safety",
         "recitation", "prohibited_content", "blocklist", "spii", "sensitive", "error_toxic",
         "guardrail_intervened"),
        FILTERED,
    ),
    **dict.fromkeys(
        ("tool_calls", "tool_call", "tool_use", "toolcalls", "function_call",
         "malformed_function_call", "unexpected_tool_call"),
        TOOLS,
    ),
}  # fmt: skip
"""The note by finish reason in lower case. With any other reason the answer is complete.

OpenAI, and in gateways Anthropic, Gemini, Mistral, Cohere, Zhipu, Bedrock and LM Studio."""

_NAME: Final = "\0"
_NOTES: Final = re.compile(
    "(?:"
    + "|".join(
        re.escape(note.format(model=_NAME)).replace(re.escape(_NAME), r"[^\n\]]{1,200}")
        for note in (LENGTH, FILTERED, TOOLS, FALLBACK)
    )
    + r"){1,2}\Z"
)
_LONGEST_CHARS: Final = 700


def without_note(answer: str) -> str:
    """An answer without the notes at its end."""
    if not answer.endswith("]"):
        return answer
    found = _NOTES.search(answer, max(0, len(answer) - _LONGEST_CHARS))
    return answer[: found.start()] if found else answer


def is_cut_off(answer: str) -> bool:
    """Whether a note at its end says that the answer is not complete."""
    note = answer[len(without_note(answer)) :]
    return any(reason in note for reason in (LENGTH, FILTERED, TOOLS))
