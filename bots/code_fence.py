"""Code fences of Markdown: which lines open, continue and close one on chat platforms.

Pure. A line must never count as closing if it does not in CommonMark.
"""

import re
from dataclasses import dataclass, replace
from typing import Final

_INFO_LIMIT_CHARS: Final = 20
"""A longer info string is not a language's name; it is left out when a fence is reopened."""

_INDENT_LIMIT_CHARS: Final = 3
"""In CommonMark, four spaces would make it indented code."""

# Possessive quantifiers: otherwise `> > > ...` has exponentially many ways to match.
_QUOTE: Final = re.compile(r"(?: {0,3}+> ?+)*+")
_FENCE: Final = re.compile(
    r"(?P<quote>(?: {0,3}+> ?+)*+)(?P<indent> *+(?:(?:[-*+]|\d{1,9}+[.)]) ++)*+)"
    r"(?P<marker>`{3,}+|~{3,}+)(?P<info>[^\r\n]*+)"
)


@dataclass(frozen=True, slots=True)
class Fence:
    """An open code fence: how to reopen it, and how to close it."""

    quote: str
    indent: int
    marker: str
    info: str

    @property
    def opening(self) -> str:
        """The opening line, with its line end."""
        return f"{self.quote}{' ' * self.indent}{self.marker}{self.info}\n"

    @property
    def closing(self) -> str:
        """The closing line, with the line end before it."""
        return f"\n{self.quote}{' ' * self.indent}{self.marker}"

    def at_top(self) -> "Fence":
        """The same fence at the top of a part, outside any list item."""
        return replace(self, indent=min(self.indent, _INDENT_LIMIT_CHARS))

    def unnamed(self) -> "Fence":
        """The same fence without its info string."""
        return replace(self, info="")

    def holds(self, line: str) -> bool:
        """Whether the line is still inside the quotation around the fence.

        In CommonMark, less indentation also ends a list item with its fence. Models often indent
        code in lists too little, and chat platforms look at the markers alone.
        """
        return quote_of(line).count(">") >= self.quote.count(">")

    def may_close(self, line: str) -> bool:
        """Whether the line could become the closing one as it grows."""
        return not line.strip(f"> \t\r\n{self.marker[0]}")

    def closes(self, line: str) -> bool:
        """Whether the line has the same marker, at least as long, and nothing after it."""
        rest = line[len(quote_of(line)) :].rstrip()
        marker = rest.lstrip(" ")
        return (
            len(marker) >= len(self.marker)
            and not marker.strip(self.marker[0])
            and len(rest) - len(marker) <= self.indent + _INDENT_LIMIT_CHARS
        )


def opened_by(line: str, *, growing: bool = False) -> Fence | None:
    """The fence that the line opens; with `growing`, one that it could open as it grows."""
    match = _FENCE.match(line)
    if not match:
        return None
    marker, info = match["marker"], match["info"].strip()
    if marker[0] == "`" and "`" in info and not growing:
        return None  # in CommonMark, code within a line
    if len(info) > _INFO_LIMIT_CHARS:
        info = ""
    return Fence(match["quote"], len(match["indent"]), marker, info)


def quote_of(line: str) -> str:
    """The quote marks at the beginning of a line."""
    match = _QUOTE.match(line)
    return match[0] if match else ""
