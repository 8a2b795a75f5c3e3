"""Cuts a request that was built for a larger window than its model has.

Pure. It must never drop the system message, a summary at the beginning, or the question.
"""

from typing import Any, Final

from dataflow.tokens import IMAGE_TOKENS, message_tokens

ChatMessage = dict[str, Any]

SUMMARY_MARK: Final = "<summary>"
"""A user message that begins with it, and the reply to it, are the summary of older turns."""

STEP_SHARE: Final = 0.4
"""Turns are dropped in steps of this share of the room. With one turn fewer per request, each
request would begin differently, and no endpoint could take its beginning from a cache."""


def request_tokens(messages: tuple[ChatMessage, ...]) -> int:
    """The estimated tokens of a request."""
    return sum(map(_tokens, messages))


def shortened(messages: tuple[ChatMessage, ...], room_tokens: int) -> tuple[ChatMessage, ...]:
    """The request without its oldest turns, if it takes more than `room_tokens`.

    A question and its answer are dropped together. The result can still be larger than the room.
    """
    excess = request_tokens(messages) - room_tokens
    if excess <= 0:
        return messages
    step = max(int(room_tokens * STEP_SHARE), 1)
    to_drop = -(-excess // step) * step
    first = at = _first_turn(messages)
    dropped = 0
    while at + 2 < len(messages) and dropped < to_drop:
        is_last_turn = at + 4 > len(messages)
        if is_last_turn and dropped >= excess:
            break  # it fits
        dropped += _tokens(messages[at]) + _tokens(messages[at + 1])
        at += 2
    return (*messages[:first], *messages[at:])


def _first_turn(messages: tuple[ChatMessage, ...]) -> int:
    """The index of the first turn, after the system message and the summary pair."""
    at = 1 if messages and messages[0]["role"] == "system" else 0
    summary = messages[at]["content"] if at + 2 < len(messages) else None
    if isinstance(summary, str) and summary.startswith(SUMMARY_MARK):
        return at + 2
    return at


def _tokens(message: ChatMessage) -> int:
    content = message["content"]
    if isinstance(content, str):
        return message_tokens(content)
    return sum(
        message_tokens(part["text"]) if part["type"] == "text" else IMAGE_TOKENS for part in content
    )
