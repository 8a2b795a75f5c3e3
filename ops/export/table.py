"""The columns of a table of turns, for analysis. Pure."""

from typing import Any, Final

from ops.export.turns import Turn

COLUMNS: Final[dict[str, type]] = {
    "prompt_id": str, "user_id": str, "platform": str, "space": str, "channel": str, "thread": str,
    "audience": str, "kind": str, "replaces": str, "said_at": str, "answered_at": str,
    "outcome": str, "model": str, "persona": str, "question": str, "answer": str, "thumb": str,
    "reason": str, "correction": str, "files": int, "quotes": int, "prompt_tokens": int,
    "completion_tokens": int, "cost_microdollars": int,
}  # fmt: skip
"""The names and types of the columns, in order. Times are in UTC, in ISO 8601."""


def row_of(turn: Turn) -> dict[str, Any]:
    """The row of a turn; None in a column means unknown or none."""
    place, rating = turn.place, turn.rating
    return {
        "prompt_id": turn.prompt_id, "user_id": turn.user, "platform": turn.platform,
        "space": place and place.space, "channel": place and place.channel,
        "thread": place and place.thread, "audience": place and place.audience,
        "kind": turn.kind, "replaces": turn.replaces,
        "said_at": turn.said_at.isoformat(), "answered_at": turn.answered_at.isoformat(),
        "outcome": turn.outcome, "model": turn.model, "persona": turn.persona,
        "question": turn.question, "answer": turn.answer,
        "thumb": rating and rating.thumb, "reason": rating and rating.reason,
        "correction": rating and rating.correction, "files": turn.files, "quotes": turn.quotes,
        "prompt_tokens": turn.prompt_tokens, "completion_tokens": turn.completion_tokens,
        "cost_microdollars": turn.cost_microdollars,
    }  # fmt: skip
