"""The changes of many messages, merged into at most one per row, in the order of the messages.

Pure. Databases refuse to change one row twice in a statement.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeVar

from dataflow.recorder.changes import (
    Answered,
    Asked,
    Change,
    Decided,
    Forgotten,
    Happened,
    Rated,
    Row,
    Shown,
    Stored,
)

Key = TypeVar("Key")


class RatingKey(NamedTuple):
    """The key of a row of `ratings`."""

    prompt_id: str
    user: str


class ReceiptKey(NamedTuple):
    """The key of a row of `early_receipts`."""

    prompt_id: str
    platform: str


@dataclass(slots=True)
class Batch:
    """Rows by their keys."""

    questions: dict[str, Row] = field(default_factory=dict)
    answers: dict[str, Row] = field(default_factory=dict)
    background: dict[str, tuple[Row, ...]] = field(default_factory=dict)
    """The calls that each of the answers reports."""
    events: dict[str, Row] = field(default_factory=dict)
    ratings: dict[RatingKey, Row] = field(default_factory=dict)
    shown: dict[ReceiptKey, datetime] = field(default_factory=dict)
    decided: dict[str, Decided] = field(default_factory=dict)
    forgotten: dict[str, datetime] = field(default_factory=dict)
    last: dict[str, Stored] = field(default_factory=dict)
    """The newest message of each stream."""

    def add(self, stored: Stored, changes: Iterable[Change]) -> None:
        """Adds a message and what it changes."""
        self.last[stored.stream] = stored
        for change in changes:
            self._add(change)

    def counts(self) -> dict[str, int]:
        """How many rows of each table it writes."""
        return {
            "questions": len(self.questions), "answers": len(self.answers),
            "background_usage": len(self.background_usage()),
            "events": len(self.events), "ratings": len(self.ratings),
        }  # fmt: skip

    def background_usage(self) -> list[Row]:
        """The rows of the calls that the answers report."""
        return [row for prompt_id in self.answers for row in self.background.get(prompt_id, ())]

    def keep(self, wanted: Callable[[Row], bool]) -> None:
        """Drops all other rows."""
        self.questions = _chosen(self.questions, wanted)
        self.answers = _chosen(self.answers, wanted)
        self.events = _chosen(self.events, wanted)
        self.ratings = _chosen(self.ratings, wanted)

    def _add(self, change: Change) -> None:
        match change:
            case Answered(row, background):
                _put(self.answers, row["prompt_id"], row)
                if self.answers[row["prompt_id"]] is row and background:
                    self.background[row["prompt_id"]] = background
            case Shown():
                self.shown[ReceiptKey(change.prompt_id, change.platform)] = change.at
            case Asked(row):
                _put(self.questions, row["prompt_id"], row)
            case Happened(row):
                _put(self.events, row["id"], row)
            case Rated(row):
                key = RatingKey(row["prompt_id"], row["user_id"])
                self.ratings[key] = _with_words_of(self.ratings.get(key), row)
            case Decided():
                self.decided[change.user] = change
            case Forgotten():
                self._forget(change)

    def _forget(self, forgotten: Forgotten) -> None:
        self.forgotten[forgotten.user] = forgotten.at
        answers = self.answers  # what came before is decided by the times in them
        self.keep(lambda row: row["user_id"] != forgotten.user)
        self.answers = answers


def _with_words_of(before: Row | None, rating: Row) -> Row:
    """A rating with the words of the one before, if it is the same thumb without any.

    People press the thumb again, without writing again why.
    """
    if before is None or before["thumb"] != rating["thumb"]:
        return rating
    if rating["reason"] or rating["correction"]:
        return rating
    return rating | {"reason": before["reason"], "correction": before["correction"]}


def _put(rows: dict[str, Row], key: str, row: Row) -> None:
    # The ids of one user are nobody else's: whoever comes second is not recorded.
    if rows.setdefault(key, row)["user_id"] == row["user_id"]:
        rows[key] = row


def _chosen(rows: dict[Key, Row], wanted: Callable[[Row], bool]) -> dict[Key, Row]:
    return {key: row for key, row in rows.items() if wanted(row)}
