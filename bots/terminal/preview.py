"""An answer while it grows: each finished block once, and the end that may still change.

Pure. It reads every line once and returns pieces of limited length, so that the time to show an
answer is proportional to its length, however often it grows.
"""

from dataclasses import dataclass
from typing import Final

from bots.code_fence import Fence, opened_by

PIECE_CHARS: Final = 3_000
"""The longest piece: Markdown parsers need quadratic time for some texts."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Markdown that no longer changes; `spaced`: a block ends here."""

    text: str
    spaced: bool


class Preview:
    """One growing answer. Each call takes the whole text so far."""

    def __init__(self) -> None:
        self._text = ""
        self._done = 0
        self._opening = ""
        """Reopens the fence in which the finished part ends."""
        self._scanned = 0
        self._fence: Fence | None = None
        self._after_blank = False

    @property
    def tail(self) -> str:
        """The Markdown that may still change, of limited length."""
        return self._opening + self._text[self._done :]

    def continues(self, text: str) -> bool:
        """Whether this text begins with the pieces returned so far."""
        return text.startswith(self._text[: self._done])

    def grow(self, text: str) -> list[Piece]:
        """The pieces that this text completes; it must begin with those returned so far."""
        if not text.startswith(self._text):  # the tail has changed: read it again
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
        """All remaining pieces of the complete text."""
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
        """Ends the block above `line` if that begins another one; its first character is enough."""
        # An indented line may belong to the list item before the blank line.
        begins = self._after_blank and not (line[:1] or " ").isspace()
        if begins and self._scanned > self._done:
            pieces.append(self._piece(self._scanned, spaced=True))

    def _cut_long(self, end: int, pieces: list[Piece]) -> None:
        """Cuts a long piece before the line that ends at `end`, and within it if necessary."""
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
