"""Names of people in quotes. Pure.

The model is told by name who said what. Anybody can choose their own name, so none may be one that
adapters use for the bot, for its remarks, or for what nobody in particular said.
"""

from typing import Final

OWN: Final = frozenset(
    {"bot", "note", "forwarded", "attachment", "link preview", "previews of links",
     "title of this thread", "system", "assistant"}
)  # fmt: skip
_TO: Final = "bot, to "


def person(name: str) -> str:
    """A name that people or apps gave themselves, marked if it could be taken for another."""
    plain = " ".join(name.casefold().split())
    return f"{name} (so named by themselves)" if plain in OWN or plain.startswith(_TO) else name
