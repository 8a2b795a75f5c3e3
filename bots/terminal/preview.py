"""An answer while it grows: each finished block once, and the end of it that may still change.

Pure. It reads every line once and hands out pieces of limited length, so that showing an answer
takes time in proportion to its length, however often it grows.
"""

from dataclasses import dataclass
from typing import Final

from bots.code_fence import Fence, opened_by

PIECE_CHARS: Final = 3_000
"""Longest piece. Markdown parsers need quadratic time for some texts: not more than for these."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Markdown that does not change any more; `spaced`: a block ends here."""

    text: str
    spaced: bool


class Growing:
    """One answer. Give it the whole text so far each time; a text that begins anew is noticed."""

    def __init__(self) -> None:
        self._text = ""
        self._done = 0
        self._opening = ""
        """Opens the fence again in which the finished part ends."""
        self._scanned = 0
        self._fence: Fence | None = None
        self._after_blank = False

    @property
    def tail(self) -> str:
        """The Markdown that may still change, of limited length."""
        return self._opening + self._text[self._done :]

    def continues(self, text: str) -> bool:
        """Whether the pieces handed out so far are the beginning of this text, too."""
        return text.startswith(self._text[: self._done])

    def grow(self, text: str) -> list[Piece]:
        """The pieces that are finished with this text, which must continue what was handed out."""
        if not text.startswith(self._text):  # the tail has changed: it is read again
            self._scanned = self._done
            self._fence = opened_by(self._opening) if self._opening else None
            self._after_blank = False
        self._text = text
        pieces: list[Piece] = []
        while (end := text.find("\n", self._scanned) + 1) > 0:
            self._cut_long(end, pieces)
            self._read_line(text[self._scanned : end], pieces)
            self._scanned = end
        self._end_block(text[self._scanned : self._scanned + 1], pieces)
        self._cut_long(len(text), pieces)
        return pieces

    def end(self, text: str) -> list[Piece]:
        """All pieces that are left of the whole text."""
        pieces = self.grow(text)
        if text[self._done :].strip():
            pieces.append(self._piece(len(text), spaced=True))
        return pieces

    def _read_line(self, line: str, pieces: list[Piece]) -> None:
        if self._fence and not self._fence.holds(line):
            self._fence = None
        if self._fence:
            if self._fence.closes(line):
                self._fence = None
        elif not line.strip():
            self._after_blank = True
        else:
            self._end_block(line, pieces)
            self._after_blank = False
            self._fence = opened_by(line)

    def _end_block(self, line: str, pieces: list[Piece]) -> None:
        """Ends the block above a line that begins another, of which the first letter is enough."""
        # An indented line may belong to the list item before the blank line.
        begins = self._after_blank and not (line[:1] or " ").isspace()
        if begins and self._scanned > self._done:
            pieces.append(self._piece(self._scanned, spaced=True))

    def _cut_long(self, end: int, pieces: list[Piece]) -> None:
        """Cuts before the line that ends here, and within it, if all would be too long a piece."""
        if end - self._done > PIECE_CHARS and self._scanned > self._done:
            pieces.append(self._piece(self._scanned, spaced=False))
        while end - self._done > PIECE_CHARS:
            limit = self._done + PIECE_CHARS
            at = self._text.rfind(" ", self._done, limit) + 1 or limit
            pieces.append(self._piece(at, spaced=False))

    def _piece(self, end: int, *, spaced: bool) -> Piece:
        text = self._opening + self._text[self._done : end]
        self._done = end
        self._opening = ""
        if self._fence and not spaced:
            text = text.removesuffix("\n") + self._fence.closing
            self._opening = self._fence.at_top().opening
        return Piece(text, spaced)
