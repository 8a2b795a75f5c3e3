"""What `threadwax dlq` prints about dead letters.

Pure. Everything in a dead letter comes from outside, so no control character of it is printed.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC
from typing import Any, Final

from bots.terminal.sanitizing import sanitized
from ops.dlq.letters import Content, Letter

HEADS: Final = ("NUMBER", "WHEN (UTC)", "PLATFORM", "USER", "SIZE", "REASON")
RIGHT: Final = (0, 4)
"""Columns of numbers."""

USER_WIDTH: Final = 32
NOBODY: Final = "-"


def table(found: Sequence[Letter]) -> Iterator[str]:
    """The lines of a table; nothing if there are no dead letters."""
    if not found:
        return
    rows = [HEADS, *(_row(letter) for letter in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    for row in rows:
        cells = [
            cell.rjust(width) if column in RIGHT else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def summary(found: Sequence[Letter]) -> str:
    """How many there are, and what to do next."""
    if not found:
        return "No dead letters."
    count = sum(letter.why_not is None for letter in found)
    listed = "1 dead letter" if len(found) == 1 else f"{len(found):,} dead letters"
    return f"{listed}. Read one: threadwax dlq show {found[-1].number}. " + (
        f"{count:,} may be replayed: threadwax dlq replay {found[-1].number}, or --all."
        if count
        else "None can be replayed."
    )


def as_json(found: Iterable[Letter]) -> str:
    """A list of objects, for scripts."""
    return json.dumps([_fields(letter) for letter in found], indent=2)


def lines_of(content: Content) -> Iterator[str]:
    """One dead letter in full."""
    letter = content.letter
    yield f"Number    {letter.number}"
    yield f"Stored    {letter.stored_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    yield f"User      {_user(letter)}"
    yield f"Subject   {_line(letter.subject)}"
    yield f"Reason    {_line(letter.reason) or NOBODY}"
    yield f"Size      {letter.size_bytes:,} bytes"
    yield f"Replay    {letter.why_not or f'threadwax dlq replay {letter.number}'}"
    for name, value in content.headers.items():
        yield f"Header    {_line(name)}: {_line(value)}"
    yield ""
    yield from sanitized(_text(content.data)).splitlines()


def content_as_json(content: Content) -> str:
    """One dead letter in full, for scripts; bytes that are no UTF-8 are replaced."""
    whole = _fields(content.letter) | {
        "headers": content.headers,
        "content": content.data.decode(errors="replace"),
    }
    return json.dumps(whole, indent=2)


def _row(letter: Letter) -> tuple[str, ...]:
    return (
        str(letter.number),
        f"{letter.stored_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
        letter.platform,
        _short(_user(letter)),
        size(letter.size_bytes),
        _line(letter.reason),
    )


def _fields(letter: Letter) -> dict[str, Any]:
    return {
        "number": letter.number,
        "stored_at": letter.stored_at.astimezone(UTC).isoformat(),
        "platform": letter.platform,
        "user": letter.user,
        "subject": letter.subject,
        "reason": letter.reason,
        "size_bytes": letter.size_bytes,
        "why_not_replayable": letter.why_not,
    }


def size(count: int) -> str:
    """A number of bytes for people."""
    return f"{count} B" if count < 1024 else f"{count / 1024:.1f} KiB"  # noqa: PLR2004


def _user(letter: Letter) -> str:
    return _line(letter.user or NOBODY)


def _line(text: str) -> str:
    return " ".join(sanitized(text).split())


def _short(text: str) -> str:
    return text if len(text) <= USER_WIDTH else f"{text[: USER_WIDTH - 1]}…"


def _text(data: bytes) -> str:
    """The content, indented if it is JSON."""
    text = data.decode(errors="replace")
    try:
        # Not sorted, and not escaped: an operator reads what was sent.
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
