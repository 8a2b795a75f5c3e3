"""Finds blocks of Markdown that some chat platforms cannot draw.

Pure. It only reports where they are. The caller leaves everything else as the model wrote it, so
that no text can be lost here. It must never look into fenced code. `code_fence.py` decides where
that ends: chat platforms look at the markers alone, whereas in CommonMark a fence also ends with
the list item around it.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, heading, hr, lheading, paragraph
from markdown_it.rules_block import table as table_rule
from markdown_it.token import Token

from bots.code_fence import Fence, opened_by

Span = tuple[int, int]

NESTING_LIMIT: Final = 12
"""Deeper quotes and lists are left as they are; a list counts twice.

The parser looks at each line once per level.
"""

PIECE_CHARS: Final = 2_000
"""A text is parsed in pieces of at least this length, each ending with an empty line.

Thus the tokens of a long text are never all in memory.
"""

PIECE_LIMIT_CHARS: Final = 16_000
"""A piece without an empty line ends with the first line that exceeds this."""

_FORMULA_ON_A_LINE: Final = re.compile(r"(?:\$\$([^$]+)\$\$|\\\[(.+?)\\\])[ \t]*")
_FORMULA_ENDS: Final = {"$$": "$$", "\\[": "\\]"}


@dataclass(frozen=True, slots=True)
class Block:
    """A block; `lines` says where its lines are, without the marks of quotes and lists.

    Kinds: `paragraph`, `heading`, `underlined` (a heading with a line below it), `rule`, `table`,
    `formula`. `in_item`: it begins a list item.
    """

    kind: str
    lines: tuple[Span, ...]
    level: int = 0
    in_item: bool = False


def blocks_of(text: str, *, indented_code: bool) -> Iterator[Block]:
    """The blocks outside code, in order. Lines must end with line feeds.

    `indented_code`: lines indented by four spaces are code.
    """
    parser = _WITH_INDENTED_CODE if indented_code else _WITHOUT_INDENTED_CODE
    for start, end in _pieces_outside_fences(text):
        tokens: list[Token] = []
        parser.block.parse(text[start:end], parser, {}, tokens)
        for token in tokens:
            if (lines := token.meta.get("lines")) is not None:
                yield Block(
                    token.meta["kind"],
                    tuple((start + first, start + last) for first, last in lines),
                    level=int(token.tag[1:]) if token.type == "heading_open" else 0,
                    in_item=token.meta["in_item"],
                )


def _pieces_outside_fences(text: str) -> Iterator[Span]:
    """Runs of whole lines outside fenced code."""
    fence: Fence | None = None
    start = at = 0
    while at < len(text):
        end = text.find("\n", at) + 1 or len(text)
        line = text[at:end].rstrip("\n")
        if fence is not None and not fence.holds(line):
            fence, start = None, at  # the quote around it has ended
        if fence is not None:
            if fence.closes(line):
                fence, start = None, end
        elif (fence := opened_by(line)) is not None:
            yield start, at
        elif end - start > (PIECE_LIMIT_CHARS if line.strip() else PIECE_CHARS):
            yield start, end
            start = end
        at = end
    if fence is None:
        yield start, at


# --- rules of the parser --------------------------------------------------------------------------

_BlockRule = Callable[[StateBlock, int, int, bool], bool]


def _placed(kind: str, rule: _BlockRule) -> _BlockRule:
    """Wraps a rule of the library so that it records where the lines of its block are."""

    def placed(state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: FBT001
        first = len(state.tokens)
        found = rule(state, start, end, silent)
        if found and not silent:
            _note(state, first, kind, start)
        return found

    return placed


def _note(state: StateBlock, index: int, kind: str, start: int) -> None:
    before = state.tokens[index - 1].type if index else ""
    state.tokens[index].meta = {
        "kind": kind,
        "in_item": before == "list_item_open",
        "lines": [_content_of(state, line) for line in range(start, state.line)],
    }


def _content_of(state: StateBlock, line: int) -> Span:
    return min(state.bMarks[line] + state.tShift[line], state.eMarks[line]), state.eMarks[line]


def _table(state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: FBT001
    """A table whose rows keep the number of cells they have.

    The library decides where a table begins. Its own rows would lose cells beyond the header's and
    gain cells up to it, which a hostile table makes expensive. A line without a bar ends the table,
    because models often forget the empty line after it.
    """
    if not table_rule(state, start, end, True):  # noqa: FBT003
        return False
    if silent:
        return True
    line = start + 2
    while line < end and _is_row(state, line, end):
        line += 1
    state.line = line
    state.push("table", "table", 0)
    _note(state, len(state.tokens) - 1, "table", start)
    return True


def _is_row(state: StateBlock, line: int, end: int) -> bool:
    first, last = _content_of(state, line)
    return (
        state.sCount[line] >= state.blkIndent
        and state.src.find("|", first, last) >= 0
        and not state.is_code_block(line)
        and not any(
            rule(state, line, end, True)  # noqa: FBT003
            for rule in state.md.block.ruler.getRules("blockquote")
        )
    )


def _formula_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: FBT001
    r"""A formula on lines of its own, between `$$` or between `\[` and `\]`."""
    if state.is_code_block(start):
        return False
    first, last = _content_of(state, start)
    if not state.src.startswith(("$$", "\\["), first):
        return False
    line = state.src[first:last]
    after = start + 1
    if not _FORMULA_ON_A_LINE.fullmatch(line):
        closing = _FORMULA_ENDS.get(line.rstrip())
        closed = _closing_line(state, after, end, closing) if closing else None
        if closed is None:
            return False
        after = closed + 1
    if not silent:
        state.line = after
        state.push("formula", "", 0)
        _note(state, len(state.tokens) - 1, "formula", start)
    return True


def _closing_line(state: StateBlock, start: int, end: int, closing: str) -> int | None:
    # Remember a search without success: a text of many openings would take quadratic time.
    if state.env.get(closing, -1) >= start:
        return None
    for line in range(start, end):
        first, last = _content_of(state, line)
        if state.src[first:last].rstrip() == closing:
            return line
    state.env[closing] = end
    return None


def _block_parser(*rules: str) -> MarkdownIt:
    parser = MarkdownIt("zero", {"maxNesting": NESTING_LIMIT})
    ruler = parser.block.ruler
    # `alt` names the blocks that such a block can interrupt; the values are the library's own.
    ruler.at("table", _table, {"alt": ["paragraph"]})
    ruler.at("hr", _placed("rule", hr), {"alt": ["paragraph", "blockquote", "list"]})
    ruler.at("heading", _placed("heading", heading), {"alt": ["paragraph", "blockquote"]})
    ruler.at("lheading", _placed("underlined", lheading))
    ruler.at("paragraph", _placed("paragraph", paragraph))
    ruler.before("blockquote", "formula", _formula_block, {"alt": ["paragraph"]})
    parser.enable(["table", "hr", "heading", "lheading", "blockquote", "list", *rules])
    return parser


_WITH_INDENTED_CODE: Final = _block_parser("code")
_WITHOUT_INDENTED_CODE: Final = _block_parser()
