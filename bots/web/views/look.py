"""What all pages have in common to the eye."""

import re
from pathlib import Path
from typing import Final

LOGO: Final = str(Path(__file__).parents[1] / "logo.svg")
"""A file: an icon by name would be fetched from another company's server."""

_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]()#+.!|~<>$:^-])")


def literal(text: str) -> str:
    """Text as it is, where Streamlit would read Markdown, for example in the label of a button."""
    return _MARKDOWN.sub(r"\\\1", text)


STYLE: Final = (
    "<style>[class*=st-key-asked-] .stChatMessage{background:rgba(224,159,31,.09)}</style>"
)
