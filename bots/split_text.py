"""Splits an answer into parts that fit a chat platform, without breaking code, words or emoji.

Pure. As a text grows, all parts but the last stay the same, so a streamed answer never rewrites
what people have seen. It must never lose a word.

Time and memory are linear in the text: a part looks back over at most its own length, and every
part that can be a third of the limit long is at least that long.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from bots.code_fence import Fence, opened_by, quote_of
from bots.graphemes import grapheme_ends

Length = Callable[[str], int]
"""The length of a text in a platform's unit: additive, and at least 1 per character."""

_GUARD: Final = "\u200b"
"""Zero-width space, put before the rest of a cut line that would otherwise open a fence."""

_PARAGRAPH, _LINE, _INSIDE, _BAD = range(4)
"""Places to break, best first.

After a blank line, after a line, inside code or a table, after a title or an opening fence.
"""

_LINES: Final = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_SENTENCE: Final = re.compile(r"[.!?…][\"'”\u2019)\]*_]*\s|[。\uff01\uff1f]")


def utf16_length(text: str) -> int:
    """UTF-16 code units, which Discord counts: most emoji take two or more."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def split_text(text: str, limit: int, *, length: Length = len) -> list[str]:
    """Parts of at most `limit`, each with its code fences closed; none for a blank text.

    Breaks after a paragraph, a line, a sentence or a word, in this order of preference, provided
    that the part is then at least a third full. A cut code fence is closed and then reopened with
    its indentation, quote marks and info string. Blank lines and spaces at a break are dropped,
    except in code. A fence whose own lines would fill half a part counts as text. A grapheme is cut
    only if it is longer than the limit, and a single character may exceed the limit.

    Raises:
        ValueError: the limit is not positive.
    """
    return [piece.text for piece in pieces(text, limit, length=length)]


@dataclass(frozen=True, slots=True)
class Piece:
    """One part, and where it ends: all text before `end` is in this part or an earlier one."""

    text: str
    end: int


def pieces(text: str, limit: int, *, length: Length = len) -> Iterator[Piece]:
    """The parts of `split_text`, made one at a time as they are needed.

    Raises:
        ValueError: the limit is not positive.
    """
    if limit < 1:
        raise ValueError("the limit of a part must be positive")
    return _Split(text, limit, length).pieces()


@dataclass(frozen=True, slots=True)
class _Break:
    """A place where the part could end, before the line at `start`."""

    start: int
    fence: Fence | None
    fence_after: Fence | None
    used: int


class _Split:
    """The state of splitting one text.

    `_start` is where the current part begins, and `_cut` whether that is in the middle of a line.
    `_fence` is the fence that is open at its end so far, and `_before` its last line so far.
    """

    def __init__(self, text: str, limit: int, length: Length) -> None:
        self._text = text
        self._limit = limit
        self._length = length
        self._lines = [m.span() for m in _LINES.finditer(text)]
        self._ready: list[Piece] = []
        self._begin(0, None)

    def _begin(
        self, start: int, fence: Fence | None, *, carry: str = "", cut: bool = False
    ) -> None:
        self._start = start
        self._fence = fence.at_top() if fence else None
        self._carry = carry
        self._head = (self._fence.opening if self._fence else "") + carry
        self._cut = cut
        self._used = self._length(self._head) + (self._length(_GUARD) if cut else 0)
        self._breaks: dict[int, _Break] = {}
        self._before = ""
        self._opened = False

    def pieces(self) -> Iterator[Piece]:
        number = 0
        while number < len(self._lines):
            line_start, end = self._lines[number]
            start = max(line_start, self._start)
            # A longer line exceeds the limit anyway; reading no further keeps the time linear.
            line = self._text[start : min(end, start + self._limit + 1)]
            whole = start + len(line) == end
            if not line.strip() and self._fence is None and not self._before:
                self._begin(start + len(line), None, carry=self._carry, cut=not whole)
                number += whole
                continue
            self._note_break(start, line)
            if whole and self._takes(start, line):
                number += 1
            else:
                self._seal(start, line)
                while number and self._lines[number - 1][1] > self._start:
                    number -= 1
                while number < len(self._lines) and self._lines[number][1] <= self._start:
                    number += 1
                yield from self._ready
                self._ready.clear()
        if self._before:
            self._emit(len(self._text), self._fence)
        yield from self._ready

    def _is_rest(self, start: int) -> bool:
        """Whether the rest of a cut line starts there; it never opens or closes a fence."""
        return self._cut and start == self._start

    def _around(self, start: int, line: str) -> Fence | None:
        """The fence around the line, if it is code."""
        held = self._fence and (self._is_rest(start) or self._fence.holds(line))
        return self._fence if held else None

    def _note_break(self, start: int, line: str) -> None:
        if self._before:
            around = self._around(start, line)
            place = _Break(start, self._fence, around, self._used)
            self._breaks[self._rank(line, around)] = place

    def _takes(self, start: int, line: str) -> bool:
        """Adds a whole line to the part if it fits; returns whether it did."""
        around = self._around(start, line)
        if line.strip() or (around and not around.quote):
            # Spaces at the end of a line of code stay; only the line end is dropped at a break.
            code = around or opened_by(line, growing=True)
            content = line.rstrip("\r\n") if code else line.rstrip()
            if self._used + self._length(content) + self._reserve(line) > self._limit:
                return False
        opened = None if around else self._opener(start, line)
        closed = around and not self._is_rest(start) and around.closes(line)
        self._fence = opened or (None if closed else around)
        self._opened = opened is not None
        self._used += self._length(line)
        self._before = line
        return True

    def _reserve(self, line: str) -> int:
        """The length to reserve for closing a fence after this line.

        It must never shrink as the line grows, or a part could end that later turns out to have had
        room. So it considers what the line could still become. Code reserves two closing lines, so
        that the real one fits into the same part.
        """
        room = 0
        if self._fence:
            closing = self._length(self._fence.closing)
            room = closing if self._fence.may_close(line) else 2 * closing
        if self._fence is None or not self._fence.holds(line):
            fence = opened_by(line, growing=True)
            # A fence with a longer closing line counts as text: see `_opener`.
            most = self._limit // 4
            room = max(room, min(self._length(fence.closing), most) if fence else 0)
        return room

    def _opener(self, start: int, line: str) -> Fence | None:
        """The fence that the line opens, unless its own lines leave too little room for code."""
        fence = None if self._is_rest(start) else opened_by(line)
        for named in (fence, fence.unnamed()) if fence else ():
            width = self._length(named.opening) + 2 * self._length(named.closing)
            if width + self._length(_GUARD) <= self._limit // 2:
                return named
        return None

    def _rank(self, line: str, fence: Fence | None) -> int:
        """How good the place between the previous line and this one is for a break."""
        if self._opened:
            return _BAD
        if fence:
            return _INSIDE
        before = self._before.lstrip()
        if before.startswith("#"):
            return _BAD
        if before.startswith("|") and line.lstrip().startswith("|"):
            return _INSIDE
        return _LINE if before else _PARAGRAPH

    def _seal(self, start: int, line: str) -> None:
        """Ends the part at the best place, since the line at `start` does not fit as a whole."""
        third = self._limit / 3
        for rank in (_PARAGRAPH, _LINE, _INSIDE):
            place = self._breaks.get(rank)
            if place and place.used >= third:
                return self._end_at(place)
        around = self._around(start, line)
        room = self._limit - self._used - self._reserve(line)
        code = around is not None or opened_by(line, growing=True) is not None
        at, between_words = self._cut_of(line, room, code=code)
        prose = not code and not line.lstrip().startswith("|")
        if prose and between_words and self._used + at >= third:
            return self._cut_at(start, line, at)
        for rank in (_PARAGRAPH, _LINE, _INSIDE, _BAD):
            if rank in self._breaks:
                return self._end_at(self._breaks[rank])
        return self._cut_at(start, line, at or 1)

    def _end_at(self, place: _Break) -> None:
        self._emit(place.start, place.fence)
        self._begin(place.start, place.fence_after)

    def _cut_at(self, start: int, line: str, at: int) -> None:
        """Ends the part inside a line, whose beginning alone may open or close a fence here."""
        around = self._around(start, line)
        end = start + at
        if around:
            closed = not self._is_rest(start) and around.closes(line[:at])
            self._emit(end, None if closed else around)
        else:
            self._emit(end, self._opener(start, line[:at]))
        if self._is_rest(start):
            carry = self._carry
        else:
            carry = around.quote if around else quote_of(line)
            if self._length(carry) > self._limit // 8 and not around:
                carry = ""
        while not around and self._text[end : end + 1] in (" ", "\t"):
            end += 1
        self._begin(end, around, carry=carry, cut=True)

    def _cut_of(self, line: str, room: int, *, code: bool) -> tuple[int, bool]:
        """Where to cut a line to fit into `room` (0: nowhere); whether it is between words."""
        if room < 1:
            return 0, False
        span = range(1, min(len(line), room) + 1)
        most = bisect_right(span, room, key=lambda k: self._length(line[:k]))
        # A space right at the cut does not count, because it is dropped.
        window = line[:most] if code else line[: most + 1]
        sentence = max(
            (m.end() for m in _SENTENCE.finditer(window) if m.end() <= most or m[0][-1].isspace()),
            default=0,
        )
        word = max(window.rfind(" "), window.rfind("\t")) + 1
        for at in (sentence, word):
            if at > most // 3 and line[:at].strip() and grapheme_ends(line, at):
                return at, True
        at = most
        while at > 0 and not (grapheme_ends(line, at) and line[at : at + 1] not in ("`", "~")):
            at -= 1
        if not at:
            at = most
            while at > 0 and not grapheme_ends(line, at):
                at -= 1
        return at or most, False

    def _emit(self, end: int, fence: Fence | None) -> None:
        """Makes a part of the text up to `end`, where `fence` is open."""
        body = self._text[self._start : end]
        if self._cut and opened_by(body, growing=True):
            body = _GUARD + body
        if fence is None:
            body = body.rstrip()
            if not body:
                return  # only the spaces before a long word
        else:
            body = re.sub(r"(?:\r\n|\r|\n)\Z", "", body) + fence.closing
        self._ready.append(Piece(self._head + body, end))
