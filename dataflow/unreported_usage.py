"""Estimates of what calls have used whose usage no endpoint reported.

Pure.
"""

from dataflow.request import Request
from dataflow.tokens import estimated_tokens
from shared.replies import Usage


def usage_so_far(request: Request, said: str) -> Usage:
    """What was sent and what was said, not corrected by the ratio of counted tokens."""
    return Usage(prompt_tokens=request.estimated_tokens, completion_tokens=estimated_tokens(said))


def total(one: Usage, other: Usage | None) -> Usage:
    """Both estimates together."""
    if other is None:
        return one
    return Usage(
        prompt_tokens=one.prompt_tokens + other.prompt_tokens,
        completion_tokens=one.completion_tokens + other.completion_tokens,
    )
