"""Searches every file of a folder for markers, in each form in which they can be stored.

Reads only. SQLite's free pages, its write-ahead logs and the blocks of NATS streams are bytes of
files, so they are searched, too. A marker must never be missed because a page ends within it.
"""

import base64
import json
import mmap
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

SHORTEST_CHARS: Final = 4
"""A shorter marker is found everywhere by chance."""

_SQLITE: Final = b"SQLite format 3\0"
_LOG: Final = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
"""How a write-ahead log begins: https://sqlite.org/fileformat2.html#walformat"""

_ESCAPE: Final = re.compile(r"\\u([0-9a-f]{4})")

_LOG_HEAD_BYTES: Final = 32
_FRAME_HEAD_BYTES: Final = 24
_LINK_BYTES: Final = 4
"""An overflow page begins with the number of the next one."""


@dataclass(slots=True)
class Found:
    """The files that were read, those that have a marker, and those that could not be read."""

    read: list[Path] = field(default_factory=list)
    bytes_read: int = 0
    matches: dict[Path, list[str]] = field(default_factory=dict)
    unreadable: dict[Path, str] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        """Whether everything was read, and nothing was found."""
        return not self.matches and not self.unreadable


def spellings(marker: str) -> frozenset[bytes]:
    """The marker as bytes: as UTF-8, in the escapes of JSON, in UTF-16, and in base64."""
    raw = marker.encode()
    escaped = json.dumps(marker)[1:-1]
    upper = _ESCAPE.sub(lambda escape: "\\u" + escape[1].upper(), escaped)
    return frozenset(
        {
            raw,
            escaped.encode(),
            upper.encode(),
            json.dumps(marker, ensure_ascii=False)[1:-1].encode(),
            marker.encode("utf-16-le"),
            *_in_base64(raw),
        }
    )


def _in_base64(raw: bytes) -> Iterator[bytes]:
    """The characters of base64 that depend on the marker alone, at each of three offsets."""
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + raw)
        first = (0, 2, 3)[offset]
        last = len(encoded) if (offset + len(raw)) % 3 == 0 else len(encoded) - 4
        if last - first >= SHORTEST_CHARS:
            yield encoded[first:last]
            yield encoded[first:last].translate(bytes.maketrans(b"+/", b"-_"))


def search(
    folder: Path, markers: list[str], *, on_file: Callable[[Path], None] = lambda _: None
) -> Found:
    """Searches all files below a folder; `on_file` is called before each."""
    wanted = {marker: spellings(marker) for marker in markers}
    found = Found()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        on_file(path)
        try:
            matches = _matches(path, wanted)
            found.bytes_read += path.stat().st_size
        except FileNotFoundError:
            continue  # a server or SQLite removed it meanwhile
        except (OSError, ValueError) as error:
            found.unreadable[path] = str(error)
            continue
        found.read.append(path)
        if matches:
            found.matches[path] = matches
    return found


def _matches(path: Path, wanted: dict[str, frozenset[bytes]]) -> list[str]:
    if not path.stat().st_size:
        return []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        pages = _pages(data)
        return [
            marker
            for marker, forms in wanted.items()
            if any(data.find(form) >= 0 or _straddles(form, pages) for form in forms)
        ]


@dataclass(slots=True)
class _Pages:
    """How the pages of a SQLite file end, and how overflow pages would begin."""

    ends: list[bytes] = field(default_factory=list)
    begins: list[bytes] = field(default_factory=list)
    last: set[bytes] = field(default_factory=set)
    first: set[bytes] = field(default_factory=set)
    """The outermost bytes of both, which exclude most pages quickly."""

    def add(self, end: bytes, begin: bytes) -> None:
        """Adds the edges of one page."""
        self.ends.append(end)
        self.begins.append(begin)
        self.last.add(end[-SHORTEST_CHARS:])
        self.first.add(begin[:SHORTEST_CHARS])


_EDGE_BYTES: Final = 256
"""Longer markers are recognized by their first bytes."""


def _pages(data: mmap.mmap) -> _Pages:
    """The edges of all pages, if this is a SQLite file or its write-ahead log."""
    pages, head = _Pages(), data[:100]
    if head.startswith(_SQLITE):
        size, first, frame = int.from_bytes(head[16:18], "big"), 0, 0
        size = 65536 if size == 1 else size
    elif head[:4] in _LOG:
        size, first = int.from_bytes(head[8:12], "big"), _LOG_HEAD_BYTES
        frame = _FRAME_HEAD_BYTES
    else:
        return pages
    for at in range(first + frame, len(data), size + frame):
        begin = at + _LINK_BYTES
        pages.add(
            data[max(0, at + size - _EDGE_BYTES) : at + size], data[begin : begin + _EDGE_BYTES]
        )
    return pages


def _straddles(form: bytes, pages: _Pages) -> bool:
    """Whether a page ends with the beginning of the form, and another begins with its rest."""
    form = form[:_EDGE_BYTES]
    for cut in range(1, len(form)):
        head, rest = form[:cut], form[cut:]
        if len(head) >= SHORTEST_CHARS and head[-SHORTEST_CHARS:] not in pages.last:
            continue
        if len(rest) >= SHORTEST_CHARS and rest[:SHORTEST_CHARS] not in pages.first:
            continue
        if any(end.endswith(head) for end in pages.ends) and any(
            begin.startswith(rest) for begin in pages.begins
        ):
            return True
    return False
