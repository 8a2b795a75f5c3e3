"""Finds in a model's Markdown the constructs that some chat platform does not draw.

Pure. It reports places in the text and nothing else: whatever it does not find or does not
understand, its caller leaves as the model wrote it, so that no text can be lost here. It must never
look into fenced code, whose ends `bots.fence` decides: the chat platforms go by the markers, while
CommonMark also ends a fence with the list item around it.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, heading, hr, lheading, paragraph
from markdown_it.rules_block import table as table_rule
from markdown_it.rules_inline import StateInline, image, link
from markdown_it.token import Token

from bots.fence import Fence, opened_by

Span = tuple[int, int]

NESTING_LIMIT: Final = 12
"""Quotes and lists deeper than this, a list counting twice, are left as they are. The parser looks
at each line once for every level."""

LABEL_NESTING_LIMIT: Final = 4
"""Brackets in brackets: an image in a link takes two. The parser's time grows with this."""

BRACKETS_LIMIT: Final = 200
"""A block with more than this has no links or images to us: brackets are what costs most time."""

FORMULA_CHARS: Final = 1_000
"""A formula within a line is at most this long."""

_BREAK: Final = re.compile(r"<br[ ]?/?>", re.IGNORECASE)
_FORMULA_ON_A_LINE: Final = re.compile(r"(?:\$\$([^$]+)\$\$|\\\[(.+?)\\\])[ \t]*")
_FORMULA_ENDS: Final = {"$$": "$$", "\\[": "\\]"}


@dataclass(frozen=True, slots=True)
class Block:
    """A block; `lines` are the places of its lines, without the marks of quotes and lists.

    Kinds: `paragraph`, `heading`, `underlined` (a heading by the line below it), `rule`, `table`,
    `formula`. `in_item`: it begins a list item.
    """

    kind: str
    lines: tuple[Span, ...]
    level: int = 0
    in_item: bool = False


@dataclass(frozen=True, slots=True)
class Inline:
    """Something within a block's text, and its place there: `image`, `link`, `formula`, `break`.

    `label` and `target` are what a link or image shows and where it leads; a formula is in `label`.
    """

    kind: str
    start: int
    end: int
    label: str = ""
    target: str = ""


def blocks_of(text: str, *, indented_code: bool) -> Iterator[Block]:
    """The blocks outside code, in order; the line ends of the text are line feeds.

    `indented_code`: lines that are indented by four spaces are code.
    """
    parser = _WITH_INDENTED_CODE if indented_code else _WITHOUT_INDENTED_CODE
    for start, end in _outside_fences(text):
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


def inlines_of(content: str) -> list[Inline]:
    """What is within the text of one block, outside code; a link comes before the images in it."""
    parser = _INLINE if content.count("[") <= BRACKETS_LIMIT else _INLINE_WITHOUT_LINKS
    tokens = parser.inline.parse(content, parser, {}, [])
    return [token.meta["inline"] for token in tokens if "inline" in token.meta]


def _outside_fences(text: str) -> Iterator[Span]:
    """The stretches of whole lines between fenced code."""
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
        elif (fence := opened_by(line)) is not None and start < at:
            yield start, at
        at = end
    if fence is None and start < at:
        yield start, at


# --- rules of the parser --------------------------------------------------------------------------

_BlockRule = Callable[[StateBlock, int, int, bool], bool]
_InlineRule = Callable[[StateInline, bool], bool]


def _placed(kind: str, rule: _BlockRule) -> _BlockRule:
    """A rule of the library that also notes where the lines of its block are."""

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
    """A table, with rows as long as they are.

    The library decides where a table begins. It would drop the cells of a row that are more than
    the header has, and fill short rows up, which a hostile table makes expensive. A line without
    a bar ends the table, since models often forget the empty line after it.
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
    # What was searched in vain is remembered: a text of openings only would take quadratic time.
    if state.env.get(closing, -1) >= start:
        return None
    for line in range(start, end):
        first, last = _content_of(state, line)
        if state.src[first:last].rstrip() == closing:
            return line
    state.env[closing] = end
    return None


def _spanned(kind: str, rule: _InlineRule) -> _InlineRule:
    """A rule of the library that also notes the place of what it found."""

    def spanned(state: StateInline, silent: bool) -> bool:  # noqa: FBT001
        start, first = state.pos, len(state.tokens) + bool(state.pending)
        found = rule(state, silent)
        if found and not silent:
            label, target = _label_and_target(state, start)
            inline = Inline(kind, start, state.pos, label, target)
            state.tokens[first].meta["inline"] = inline
        return found

    return spanned


def _label_and_target(state: StateInline, start: int) -> tuple[str, str]:
    """As they are written: the library gives an address as HTML needs it."""
    opening = start + state.src.startswith("!", start)
    end = state.md.helpers.parseLinkLabel(state, opening)
    written = state.src[end + 2 : state.pos - 1].strip()
    target = written[1:].split(">")[0] if written[:1] == "<" else (written.split() or [""])[0]
    return state.src[opening + 1 : end], target


def _formula(state: StateInline, silent: bool) -> bool:  # noqa: FBT001
    r"""A formula within a line: `\(x\)`, `$$x$$`, or `$x_1$` if it looks like one.

    Prices have dollars as well, so a single one needs a character of formulas before the next one.
    """
    src, start = state.src, state.pos
    opening = next((mark for mark in ("\\(", "$$", "$") if src.startswith(mark, start)), None)
    if opening is None:
        return False
    closing = "\\)" if opening == "\\(" else opening
    first = start + len(opening)
    last = src.find(closing, first, first + FORMULA_CHARS)
    body = src[first:last] if last > first else ""
    if not body.strip() or "`" in body or "\n" in body:
        return False
    end = last + len(closing)
    if opening == "$":
        around = src[start - 1 : start] + src[end : end + 1]
        attached = any(c.isalnum() or c in "_$" for c in around)
        if attached or body != body.strip() or body[-1] == "\\" or not set(body) & set("\\^_{}="):
            return False
    return _found(state, Inline("formula", start, end, body), silent=silent)


def _line_break(state: StateInline, silent: bool) -> bool:  # noqa: FBT001
    match = _BREAK.match(state.src, state.pos)
    if match is None:
        return False
    return _found(state, Inline("break", *match.span()), silent=silent)


def _found(state: StateInline, inline: Inline, *, silent: bool) -> bool:
    if not silent:
        state.push(inline.kind, "", 0).meta["inline"] = inline
    state.pos = inline.end
    return True


def _block_parser(*rules: str) -> MarkdownIt:
    parser = MarkdownIt("zero", {"maxNesting": NESTING_LIMIT})
    ruler = parser.block.ruler
    # `alt` has the blocks that end where such a block begins; as the library has it.
    ruler.at("table", _table, {"alt": ["paragraph"]})
    ruler.at("hr", _placed("rule", hr), {"alt": ["paragraph", "blockquote", "list"]})
    ruler.at("heading", _placed("heading", heading), {"alt": ["paragraph", "blockquote"]})
    ruler.at("lheading", _placed("underlined", lheading))
    ruler.at("paragraph", _placed("paragraph", paragraph))
    ruler.before("blockquote", "formula", _formula_block, {"alt": ["paragraph"]})
    parser.enable(["table", "hr", "heading", "lheading", "blockquote", "list", *rules])
    return parser


def _inline_parser(*rules: str) -> MarkdownIt:
    parser = MarkdownIt("zero", {"maxNesting": LABEL_NESTING_LIMIT})
    ruler = parser.inline.ruler
    ruler.at("link", _spanned("link", link))
    ruler.at("image", _spanned("image", image))
    ruler.before("escape", "formula", _formula)
    ruler.push("break", _line_break)
    parser.enable(["escape", "backticks", "autolink", *rules])
    return parser


_WITH_INDENTED_CODE: Final = _block_parser("code")
_WITHOUT_INDENTED_CODE: Final = _block_parser()
_INLINE: Final = _inline_parser("link", "image")
_INLINE_WITHOUT_LINKS: Final = _inline_parser()
