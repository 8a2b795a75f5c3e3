"""Reads what the recorder returns for a person's page. Pure: untrusted data, so it never raises."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final, get_args

from bots.web.turns import Answer, Finished, Growing, Thumb, Turn
from shared.replies import Outcome

AWAITED: Final = timedelta(days=1)
"""An older question without an answer is not waited for."""

OUTCOMES: Final = frozenset(get_args(Outcome))


def turns_in(entries: list[dict[str, Any]], now: datetime) -> list[Turn]:
    """The turns of the web page among a person's entries (`shared.database.history`)."""
    return [turn for entry in entries if (turn := _turn_in(entry, now)) is not None]


def _turn_in(entry: dict[str, Any], now: datetime) -> Turn | None:
    if entry.get("deleted") or not entry.get("prompt_id") or not entry.get("thread"):
        return None
    said_at = _instant(entry.get("said_at"))
    answer = _answer_in(entry, said_at, now)
    if said_at is None or answer is None:
        return None
    thumb: Thumb = "none"
    if entry.get("thumb") in {"up", "down"}:
        thumb = entry["thumb"]
    return Turn(
        entry["prompt_id"], entry["thread"], entry.get("question") or "", said_at, answer,
        tuple(entry.get("attachments") or ()), entry.get("replaces"), thumb,
    )  # fmt: skip


def _answer_in(entry: dict[str, Any], said_at: datetime | None, now: datetime) -> Answer | None:
    outcome: Any = entry.get("outcome")
    if outcome in OUTCOMES:
        return Finished(entry.get("answer") or "", outcome, entry.get("model") or "")
    is_awaited = said_at is not None and now - said_at < AWAITED
    return Growing() if is_awaited else None


def _instant(text: str | None) -> datetime | None:
    try:
        at = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
