"""What all pages have in common to the eye."""

from pathlib import Path
from typing import Final

LOGO: Final = str(Path(__file__).parents[1] / "logo.svg")
"""A file: an icon by name would be fetched from another company's server."""

STYLE: Final = (
    "<style>[class*=st-key-asked-] .stChatMessage{background:rgba(224,159,31,.09)}</style>"
)
