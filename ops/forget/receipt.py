"""What `threadwax forget` prints: what was erased, by store, and what is out of reach. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ops.forget.backups import Backup
from ops.forget.database import Export

_LABELS: Final = {
    "events": "events (stream PROMPTS)",
    "replies": "replies (stream REPLIES)",
    "receipts": "receipts (KV RECEIPTS)",
    "files": "files (stream BLOBS)",
    "dead_letters": "dead letters (stream DLQ)",
    "evicted": "evicted conversation",
    "unreadable": "unreadable conversations",
    "terminal_history": "lines of the terminal's history",
    "discord_questions": "questions known to the Discord adapter",
}
"""What the counts count."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The counts by store, and what is left elsewhere."""

    user: str
    at: datetime
    counts: Mapping[str, int]
    rows: Mapping[str, int]
    backups: tuple[Backup, ...]
    exports: tuple[Export, ...]
    failures: tuple[str, ...] = ()


def lines_of(receipt: Receipt) -> Iterator[str]:
    """The receipt as lines for a terminal."""
    yield f"Forgotten: {receipt.user}, {receipt.at:%Y-%m-%d %H:%M} UTC"
    for name, count in receipt.counts.items():
        yield f"  {count:>8}  {_LABELS.get(name, name)}"
    for table, count in receipt.rows.items():
        yield f"  {count:>8}  rows of the table {table}"
    yield "  The conversation, and what was left of it in the recovery store's files, are erased."
    if receipt.failures:
        yield "Not erased. Correct this and run the command again:"
        yield from (f"  {failure}" for failure in receipt.failures)
    yield "Out of reach:"
    yield "  messages on the platform itself, and what others quoted in their own questions"
    for export in receipt.exports:
        yield f"  {export.created_at:%Y-%m-%d}  export {export.path}, and models trained on it"
    for backup in receipt.backups:
        yield f"  {backup.changed_at:%Y-%m-%d}  {backup.path} looks like a backup"
    if not receipt.backups:
        yield "  backups elsewhere (none was found in or next to the data folder)"
