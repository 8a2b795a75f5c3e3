"""The names of people in quotes. Pure.

The model reads who said what by name. People choose their own names, so none may look like a name
that adapters use themselves: for the bot, for notes, or for text without an author.
"""

from typing import Final

OWN: Final = frozenset(
    {"bot", "note", "forwarded", "attachment", "link preview", "previews of links",
     "title of this thread", "system", "assistant"}
)  # fmt: skip
_TO: Final = "bot, to "


def person(name: str) -> str:
    """The name of a person or an app, marked if it looks like one of our own names."""
    plain = " ".join(name.casefold().split())
    return f"{name} (so named by themselves)" if plain in OWN or plain.startswith(_TO) else name
