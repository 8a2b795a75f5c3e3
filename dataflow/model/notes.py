"""Notes in brackets that an answer ends with when there is something to know about it.

Pure. A note is for people: `without_note` takes it off before the model sees the answer again,
which would otherwise imitate it.
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
    "length": LENGTH,
    "max_tokens": LENGTH,
    "model_length": LENGTH,
    "content_filter": FILTERED,
    "safety": FILTERED,
    "recitation": FILTERED,
    "prohibited_content": FILTERED,
    "tool_calls": TOOLS,
    "tool_use": TOOLS,
    "function_call": TOOLS,
}
"""By the reason for which an answer ended, in lower case. Any other reason means that it is whole.

OpenAI, Anthropic's and Gemini's words in gateways, Mistral."""

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
