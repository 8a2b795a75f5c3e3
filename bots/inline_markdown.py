"""Finds inline Markdown that some chat platforms cannot draw: images, links, formulas, breaks.

Pure. It must never take more than linear time, so it ignores text that nobody would write by hand.
The caller leaves everything that is not found as the model wrote it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.rules_inline import StateInline, image, link

LABEL_NESTING_LIMIT: Final = 4
"""Brackets in brackets: an image in a link needs two. The parser's time grows with this."""

BRACKETS_LIMIT: Final = 100
"""Links and images are not looked for in a block with more: brackets cost the most time."""

BLOCK_CHARS: Final = 8_000
"""A longer paragraph is left as it is: every piece of it would become a token."""

FORMULA_CHARS: Final = 1_000
"""The longest formula within a line."""

_BREAK: Final = re.compile(r"<br[ ]?/?>", re.IGNORECASE)

_Rule = Callable[[StateInline, bool], bool]


@dataclass(frozen=True, slots=True)
class Inline:
    """An `image`, `link`, `formula` or `break`, and where it is in the text of its block.

    `label` is what a link or image shows and `target` where it leads; a formula is in `label`.
    """

    kind: str
    start: int
    end: int
    label: str = ""
    target: str = ""


def inlines_of(content: str) -> list[Inline]:
    """All of them in the text of one block, outside code; a link comes before its images."""
    if len(content) > BLOCK_CHARS:
        return []
    parser = _INLINE if content.count("[") <= BRACKETS_LIMIT else _INLINE_WITHOUT_LINKS
    tokens = parser.inline.parse(content, parser, {}, [])
    return [token.meta["inline"] for token in tokens if "inline" in token.meta]


def _spanned(kind: str, rule: _Rule) -> _Rule:
    """Wraps a rule of the library so that it records where it found something."""

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
    """Label and target as written; the library would escape an address for HTML."""
    opening = start + state.src.startswith("!", start)
    end = state.md.helpers.parseLinkLabel(state, opening)
    written = state.src[end + 2 : state.pos - 1].strip()
    target = written[1:].split(">")[0] if written[:1] == "<" else (written.split() or [""])[0]
    return state.src[opening + 1 : end], target


def _formula(state: StateInline, silent: bool) -> bool:  # noqa: FBT001
    r"""A formula within a line: `\(x\)`, `$$x$$`, or `$x_1$` if it looks like one.

    Prices have dollar signs, too, so `$` needs a character that only formulas have.
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


def _inline_parser(*rules: str) -> MarkdownIt:
    parser = MarkdownIt("zero", {"maxNesting": LABEL_NESTING_LIMIT})
    ruler = parser.inline.ruler
    ruler.at("link", _spanned("link", link))
    ruler.at("image", _spanned("image", image))
    ruler.before("escape", "formula", _formula)
    ruler.push("break", _line_break)
    parser.enable(["escape", "backticks", "autolink", *rules])
    return parser


_INLINE: Final = _inline_parser("link", "image")
_INLINE_WITHOUT_LINKS: Final = _inline_parser()
