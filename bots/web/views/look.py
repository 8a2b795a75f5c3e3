"""What all pages have in common to the eye."""

import re
from pathlib import Path
from typing import Final

import streamlit as st

LOGO: Final = str(Path(__file__).parents[1] / "logo.svg")
"""A file: an icon by name would be fetched from another company's server."""

_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]()#+.!|~<>$:^-])")


def literal(text: str) -> str:
    """Text as it is, where Streamlit would read Markdown, for example in the label of a button."""
    return _MARKDOWN.sub(r"\\\1", text)


STYLE: Final = """<style>
[class*=st-key-asked-] .stChatMessage{background:rgba(224,159,31,.09)}
[class*=st-key-asked-] .stVerticalBlock{gap:.25rem}
.stChatMessage :is(h1,h2,h3){font-size:1.25rem;padding:.75rem 0 .25rem}
[data-testid=stChatMessageAvatarCustom]{background:transparent}
.stChatMessage .stElementContainer:has(>.stEmpty){display:none}
.stSidebar .stVerticalBlock{gap:.5rem}
.stSidebar .stHorizontalBlock{flex-wrap:nowrap;gap:.5rem}
[class*=st-key-open-]{min-width:0}
[class*=st-key-open-] button{padding-inline:.75rem}
[class*=st-key-open-] button,[class*=st-key-open-] button *{justify-content:flex-start}
</style>"""
"""The chat: questions in a colour of their own, and conversations as a list, one per line."""

WIDE: Final = (
    "<style>.stMainBlockContainer{max-width:80rem;padding-top:4.5rem}"
    # Figures are refreshed all the time: they must not fade meanwhile.
    "[data-stale=true]{opacity:1!important;transition:none!important}</style>"
)

HOURS: Final = {"24 hours": 24, "7 days": 7 * 24, "30 days": 30 * 24, "90 days": 90 * 24}
USUAL: Final = "7 days"


def time_range() -> int:
    """Lets people choose a time range, which the address keeps; returns its hours."""
    chosen = st.segmented_control(
        "Time", list(HOURS), default=USUAL, key="time", bind="query-params", required=True,
        label_visibility="collapsed", width="content",
    )  # fmt: skip
    return HOURS[chosen or USUAL]
