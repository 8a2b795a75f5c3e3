"""Code fences of Markdown as chat platforms read them: what opens one, holds it and closes it.

Pure. It must never take a line for a closing one that CommonMark would not.
"""

import re
from dataclasses import dataclass, replace
from typing import Final

_INFO_LIMIT_CHARS: Final = 20
"""A longer info string is not repeated when a fence is opened again: it is no language's name."""

_INDENT_LIMIT_CHARS: Final = 3
"""CommonMark: with four spaces a fence would be indented code."""

# Possessive throughout: `> > > ...` would otherwise be tried in exponentially many ways.
_QUOTE: Final = re.compile(r"(?: {0,3}+> ?+)*+")
_FENCE: Final = re.compile(
    r"(?P<quote>(?: {0,3}+> ?+)*+)(?P<indent> *+(?:(?:[-*+]|\d{1,9}+[.)]) ++)*+)"
    r"(?P<marker>`{3,}+|~{3,}+)(?P<info>[^\r\n]*+)"
)


@dataclass(frozen=True, slots=True)
class Fence:
    """An open code fence: what opens it again, and what closes it."""

    quote: str
    indent: int
    marker: str
    info: str

    @property
    def opening(self) -> str:
        """The line that opens it, with its line end."""
        return f"{self.quote}{' ' * self.indent}{self.marker}{self.info}\n"

    @property
    def closing(self) -> str:
        """The line that closes it, with the line end before."""
        return f"\n{self.quote}{' ' * self.indent}{self.marker}"

    def again(self) -> "Fence":
        """As it stands at the top of a part, where no list item holds it."""
        return replace(self, indent=min(self.indent, _INDENT_LIMIT_CHARS))

    def unnamed(self) -> "Fence":
        """The same without its info string."""
        return replace(self, info="")

    def holds(self, line: str) -> bool:
        """Whether the line still belongs to the quotation around the fence.

        A list item ends by indentation as well, but models under-indent code in lists, and the
        chat platforms go by the markers.
        """
        return quote_of(line).count(">") >= self.quote.count(">")

    def may_close(self, line: str) -> bool:
        """Whether the line, still growing, could become the closing one."""
        return not line.strip(f"> \t\r\n{self.marker[0]}")

    def closes(self, line: str) -> bool:
        """A closing line has the same marker, at least as long, with nothing after it."""
        rest = line[len(quote_of(line)) :].rstrip()
        marker = rest.lstrip(" ")
        return (
            len(marker) >= len(self.marker)
            and not marker.strip(self.marker[0])
            and len(rest) - len(marker) <= self.indent + _INDENT_LIMIT_CHARS
        )


def opened_by(line: str, *, growing: bool = False) -> Fence | None:
    """The fence that the line opens; `growing`: that it could open when more of it comes."""
    match = _FENCE.match(line)
    if not match:
        return None
    marker, info = match["marker"], match["info"].strip()
    if marker[0] == "`" and "`" in info and not growing:
        return None  # CommonMark: that is code within a line
    if len(info) > _INFO_LIMIT_CHARS:
        info = ""
    return Fence(match["quote"], len(match["indent"]), marker, info)


def quote_of(line: str) -> str:
    """The quote marks at the start of a line."""
    match = _QUOTE.match(line)
    return match[0] if match else ""
