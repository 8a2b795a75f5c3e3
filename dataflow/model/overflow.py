"""Whether a request was too long for its model, and how long it may be.

Pure. Sources are the messages of the servers and providers named in `tests/unit/test_overflow.py`.
"""

import re
from typing import Final

from dataflow.model.complaint import Complaint

CODES: Final = frozenset(
    {"context_length_exceeded", "exceed_context_size_error", "string_above_max_length",
     "model_max_prompt_tokens_exceeded", "context_window_exceeded"}
)  # fmt: skip
"""OpenAI and vLLM; llama.cpp; others."""

SMALLEST_WINDOW_TOKENS: Final = 64
LARGEST_WINDOW_TOKENS: Final = 100_000_000

_WORDS: Final = re.compile(
    r"context (?:length|window|size)|(?:maximum|max) (?:model|prompt) length"
    r"|(?:prompt|inputs?|request|messages?|conversation)\b[^.\n]{0,40} too (?:long|large)\b"
    r"|token limit|too many (?:input )?tokens|exceeds? context limit"
    r"|tokens?\b[^.\n]{0,60} exceeds? the (?:maximum|configured)"
    r"|n_keep[^\n]{0,20}n_ctx|larger context|range of input length"
    r"|max_new_tokens`? must be|reduce the length of|context the overflows"
)
_NOT_ABOUT_LENGTH: Final = re.compile(r"image|picture|pixel|file size|attachment")

_NUMBER: Final = r"(\d[\d,_]{1,12})"
_WINDOWS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        rf"context (?:length|window|size)(?: of)?(?: is| of| only|:| \()*\s*{_NUMBER}",
        rf"(?:maximum|model) (?:model |prompt |context )?length(?: is| of| only|:)*\s*{_NUMBER}",
        rf"{_NUMBER}(?: tokens?)? maximum",
        rf"n_ctx[^0-9\n]{{0,5}}{_NUMBER}",
        rf"(?:must be <=?|cannot exceed|> ?)\s*{_NUMBER}",
        rf"limit(?: is| of|:)*\s*{_NUMBER}",
        rf"(?:allowed|supported)\s*\(?:?\s*{_NUMBER}",
        rf"should be \[\d+, ?{_NUMBER}\]",
    )
)


def is_overflow(complaint: Complaint) -> bool:
    """Whether a shorter conversation could be accepted."""
    if complaint.codes & CODES:
        return True
    if complaint.status in {401, 402, 403, 404, 500}:
        return False
    if complaint.status == 429:  # noqa: PLR2004
        # OpenAI and Groq: more tokens than one minute allows. No wait makes it fit.
        return "request too large for" in complaint.text
    return bool(_WORDS.search(complaint.text)) and not _NOT_ABOUT_LENGTH.search(complaint.text)


def window_in(complaint: Complaint) -> int | None:
    """The model's context window in tokens, if the complaint mentions it."""
    if complaint.n_ctx is not None and _plausible(complaint.n_ctx):
        return complaint.n_ctx
    for pattern in _WINDOWS:
        for found in pattern.finditer(complaint.text):
            tokens = int(re.sub(r"\D", "", found[1]))
            if _plausible(tokens):
                return tokens
    return None


def _plausible(tokens: int) -> bool:
    return SMALLEST_WINDOW_TOKENS <= tokens <= LARGEST_WINDOW_TOKENS
