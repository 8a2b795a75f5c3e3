"""Removes control sequences, so that text cannot move the cursor, change colours or hide anything.

Pure. Every model text that is printed goes through here, even into a pipe, because its output is
often shown on a terminal later. It must never change tabs and line ends.
"""

import re
from typing import Final

_CONTROLS: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, modes (ECMA-48)
    # OSC, DCS, SOS, PM, APC: titles, links, the clipboard
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x9c|\x1b\\)?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"  # C0 except tab and line feed, DEL, C1
    # Directional embeddings, overrides and isolates: an unclosed one reorders the text after it.
    r"|[\u202a-\u202e\u2066-\u2069]"
)


def sanitized(text: str) -> str:
    """The text without control sequences and characters, except for tabs and line feeds."""
    return _CONTROLS.sub("", text)
