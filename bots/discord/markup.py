"""Turns what Discord does not draw into what it does: tables, LaTeX, pictures, deep headings.

Pure. It must never touch code, nor lose a word.
"""

from typing import Final

from bots.rendering import Dialect, rendered

DISCORD: Final = Dialect(draws=())
"""Discord draws none of them (see docs/discord.md)."""


def downgraded(text: str) -> str:
    """The same text as Discord can show it; code stays as it is."""
    return rendered(text, DISCORD)
