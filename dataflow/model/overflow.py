"""Whether a request was too long for its model, and how long a request can be.

Pure. The patterns come from messages of the servers and providers in `tests/unit/test_overflow.py`.
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
SMALLEST_UNNAMED_TOKENS: Final = 1000
"""A smaller number without the word "tokens" may count anything."""

_WORDS: Final = re.compile(
    r"context (?:length|window|size)|(?:maximum|max) (?:model|prompt) length"
    r"|(?:prompt|inputs?|request|messages?|conversation)\b[^.\n]{0,40} too (?:long|large)\b"
    r"|token limit|too many (?:input )?tokens|exceeds? context limit"
    r"|tokens?\b[^.\n]{0,60} exceeds? (?:the )?(?:maximum|configured|limit)"
    r"|(?:prompt|input) (?:length|tokens?)\b[^.\n]{0,40} (?:exceeds?|greater than|longer than|>)"
    r"|n_keep[^\n]{0,20}n_ctx|max_seq_len|larger context|range of input length"
    r"|(?:less|fewer) than \d+ tokens|max_new_tokens`? must be|reduce the length of"
    r"|context the overflows"
)
_STRONG: Final = re.compile(
    r"exceed[^.\n]{0,40} context (?:length|window|size)|context (?:length|window|size) exceeded"
    r"|context (?:length|window|size) is \d"
)
"""Needed if the status usually means something else, like the 500 of llama-cpp-python."""
_NOT_ABOUT_LENGTH: Final = re.compile(r"image|picture|pixel|file size|attachment")

_NUMBER: Final = (
    r"(?P<number>\d[\d,_]{0,12})(?P<scale>[km])?(?![\d_]|[.,]\d)"
    r"(?P<unit>[- ]?tokens?)?(?! ?(?:messages|turns|requests|images|characters|bytes|%))"
)
_WINDOWS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        rf"context (?:length|window|size)(?: of)?(?: is| of| only|:| \()*\s*{_NUMBER}",
        rf"(?:maximum|model) (?:(?:model|prompt|context|max) )?length(?: is| of|:)*\s*{_NUMBER}",
        rf"{_NUMBER} maximum",
        rf"(?:n_ctx|max_seq_len|session_len|max_kv_size)[^0-9\n]{{0,5}}{_NUMBER}",
        rf"(?:must be <=?|cannot exceed|less than|\d(?: tokens?)? ?>=?)\s*{_NUMBER}",
        rf"(?<!rate )limit(?: is| of|:)*\s*{_NUMBER}",
        rf"(?:allowed|supported)\s*\(?:?\s*{_NUMBER}",
        rf"should be \[\d+, ?{_NUMBER}\]",
    )
)
_SCALES: Final = {None: 1, "k": 1000, "m": 1_000_000}


def is_overflow(complaint: Complaint) -> bool:
    """Whether a shorter conversation could be accepted."""
    if complaint.codes & CODES:
        return True
    if complaint.status in {401, 402, 403, 404}:
        return False
    if complaint.status == 429:  # noqa: PLR2004
        # OpenAI and Groq: more tokens than are allowed per minute, which no wait can help.
        return "request too large for" in complaint.text
    if complaint.status == 500:  # noqa: PLR2004
        return bool(_STRONG.search(complaint.text))
    if not _WORDS.search(complaint.text):
        return False
    # vLLM explains how it counts images in every complaint about length.
    return not _NOT_ABOUT_LENGTH.search(complaint.text) or "token" in complaint.text


def window_in(complaint: Complaint) -> int | None:
    """The model's context window in tokens, if the complaint mentions it."""
    if complaint.n_ctx is not None and _plausible(complaint.n_ctx):
        return complaint.n_ctx
    if complaint.web_page:
        return None
    for pattern in _WINDOWS:
        for found in pattern.finditer(complaint.text):
            tokens = int(re.sub(r"\D", "", found["number"])) * _SCALES[found["scale"]]
            if _plausible(tokens) and (found["unit"] or tokens >= SMALLEST_UNNAMED_TOKENS):
                return tokens
    return None


def _plausible(tokens: int) -> bool:
    return SMALLEST_WINDOW_TOKENS <= tokens <= LARGEST_WINDOW_TOKENS
