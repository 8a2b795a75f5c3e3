"""The files that people attach to their messages."""

from typing import Final

NOTE: Final = "a line of the notes"

DATA: Final[dict[str, tuple[str, bytes]]] = {
    "cat.png": ("image/png", b"\x89PNG\r\n\x1a\n" + bytes(60_000)),
    "notes.txt": ("text/plain", NOTE.encode()),
}
"""Media type and bytes by name."""

SIGNS: Final = {"cat.png": "data:image/png;base64,", "notes.txt": NOTE}
"""Text that proves that a request contains the file."""
