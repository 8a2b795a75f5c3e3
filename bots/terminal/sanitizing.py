"""Text that a terminal shows as text: nothing in it moves the cursor, colours, or hides anything.

Pure. Every model text that is printed goes through here, also into a pipe, because what a pipe
carries is often shown on a terminal later. It must never change tabs and line ends.
"""

import re
from typing import Final

_CONTROLS: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, modes (ECMA-48)
    # OSC, DCS, SOS, PM, APC: titles, links, the clipboard
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x9c|\x1b\\)?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"  # all of C0 but tab and line feed, DEL, C1
    # Directional embeddings, overrides and isolates: an unclosed one reorders what follows it.
    r"|[\u202a-\u202e\u2066-\u2069]"
)


def plain(text: str) -> str:
    """The text without control sequences and characters, except for tabs and line feeds."""
    return _CONTROLS.sub("", text)
