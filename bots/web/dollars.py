"""Tells amounts of money from formulas in an answer.

Streamlit takes all text between two dollar signs for a formula. Pure, and takes linear time:
answers are not trusted.
"""

import re
from typing import Final

_TOKENS: Final = re.compile(r"\\.|`+|\$+|\n\s*\n", re.DOTALL)
_ESCAPED: Final = r"\$"


def with_money(text: str) -> str:
    """Markdown in which dollar signs of amounts are escaped; formulas and code stay as they are.

    The rule for a formula is that of pandoc: no space after the first dollar sign, none before the
    second, and no digit after it; not even after a space, because of "US$ 5".
    """
    money = set()
    opening: int | None = None
    code = ""
    for token in _TOKENS.finditer(text):
        at, found = token.start(), token[0]
        if found.startswith("`"):
            if not code or code == found:
                code = "" if code else found
        elif code or found.startswith(("\\", "$$")):
            continue
        elif found == "$":
            if opening is not None and _closes(text, at):
                money.discard(opening)
                opening = None
            else:
                money.add(at)
                opening = at if text[at + 1 : at + 2].strip() else None
        else:  # a new paragraph
            opening = None
    pieces = (_ESCAPED if at in money else character for at, character in enumerate(text))
    return "".join(pieces) if money else text


def _closes(text: str, at: int) -> bool:
    return not text[at - 1].isspace() and not text[at + 1 : at + 3].lstrip()[:1].isdigit()
