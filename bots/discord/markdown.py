"""Turns what Discord does not draw into what it does: tables, LaTeX, pictures, deep headings.

Pure. It must never touch code, nor lose a word.
"""

import re
from typing import Final

from bots.fence import Fence, opened_by

RULE: Final = "─" * 12

_TABLE_RULE: Final = re.compile(r" {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*")
_CELL_END: Final = re.compile(r"(?<!\\)\|")
_CODE: Final = re.compile(r"(?<!`)(`{1,8})(?!`)(?:(?!\n).)*?(?<!`)\1(?!`)")
_IMAGE: Final = re.compile(r"!\[([^\]\n]*)\]\((<?)([^\s()<>]+)>?(?:[ \t]+\"[^\"\n]*\")?\)")
_LINK_TO_ITSELF: Final = re.compile(r"\[(https?://[^\]\s]+)\]\(\1/?\)")
_DEEP_HEADING: Final = re.compile(r" {0,3}#{4,6}[ \t]+(\S.*?)(?:[ \t]+#+)?[ \t]*")
_RULE: Final = re.compile(r" {0,3}(?:(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|(?:-[ \t]*){3,})")
_TASK: Final = re.compile(r"([ \t]*[-*+] )\[([ xX])\] ")
_BREAK: Final = re.compile(r"<br[ ]?/?>", re.IGNORECASE)
_DISPLAY_MATH: Final = re.compile(r" {0,3}(\$\$|\\\[)[ \t]*")
_MATH_ENDS: Final = {"$$": "$$", "\\[": "\\]"}
_MATH_ON_A_LINE: Final = re.compile(r" {0,3}(?:\$\$(.+?)\$\$|\\\[(.+?)\\\])[ \t]*")
_INLINE_MATH: Final = re.compile(
    r"\\\(([^`\n]+?)\\\)|(?<![\w$\\])\$(?=\S)([^`$\n]*[\\^_{}=][^`$\n]*?)(?<=\S)\$(?![\w$])"
)


def downgraded(text: str) -> str:
    """The same text as Discord can show it; code stays as it is."""
    lines = text.split("\n")
    out: list[str] = []
    fence: Fence | None = None
    number = 0
    while number < len(lines):
        line = lines[number]
        if fence is not None:
            out.append(line)
            fence = None if fence.closes(line) or not fence.holds(line) else fence
            number += 1
            continue
        fence = opened_by(line)
        if fence is not None:
            out.append(line)
            number += 1
            continue
        taken, shown = _block(lines, number)
        out += shown
        number += taken
    return "\n".join(out)


def _block(lines: list[str], at: int) -> tuple[int, list[str]]:
    """How many lines are one thing, and how it is shown."""
    line = lines[at]
    if "|" in line and at + 1 < len(lines) and _is_rule_of(line, lines[at + 1]):
        end = at + 2
        while end < len(lines) and "|" in lines[end] and opened_by(lines[end]) is None:
            end += 1
        return end - at, _table([lines[at], *lines[at + 2 : end]])
    if match := _MATH_ON_A_LINE.fullmatch(line):
        return 1, _as_code([match[1] or match[2]], "latex")
    if match := _DISPLAY_MATH.fullmatch(line):
        closing = _MATH_ENDS[match[1]]
        for end in range(at + 1, len(lines)):
            if lines[end].strip() == closing:
                return end - at + 1, _as_code(lines[at + 1 : end], "latex")
    return 1, [_line(line)]


def _line(line: str) -> str:
    if _RULE.fullmatch(line):
        return RULE
    if match := _DEEP_HEADING.fullmatch(line):
        title = match[1] if "**" in match[1] else f"**{match[1]}**"
        return _outside_code(title)
    line = _TASK.sub(lambda m: f"{m[1]}{'☐' if m[2] == ' ' else '☑'} ", line, count=1)
    return _outside_code(line)


def _outside_code(line: str) -> str:
    out, last = [], 0
    for code in _CODE.finditer(line):
        out += [_inline(line[last : code.start()]), code[0]]
        last = code.end()
    return "".join([*out, _inline(line[last:])])


def _inline(text: str) -> str:
    text = _IMAGE.sub(lambda m: f"{m[1]}: <{m[3]}>" if m[1] else f"<{m[3]}>", text)
    text = _LINK_TO_ITSELF.sub(r"\1", text)
    text = _INLINE_MATH.sub(lambda m: f"`{m[1] or m[2]}`", text)
    return _BREAK.sub("\n", text)


def _as_code(lines: list[str], name: str = "") -> list[str]:
    longest = max((len(m) for line in lines for m in re.findall(r"`+", line)), default=0)
    marker = "`" * max(3, longest + 1)
    return [f"{marker}{name}", *lines, marker]


def _cells(row: str) -> list[str]:
    row = row.strip()
    row = row.removeprefix("|")
    if row.endswith("|") and not row.endswith("\\|"):
        row = row[:-1]
    return [cell.strip().replace("\\|", "|") for cell in _CELL_END.split(row)]


def _is_rule_of(head: str, rule: str) -> bool:
    return (
        _TABLE_RULE.fullmatch(rule) is not None
        and ("|" in rule or "|" in head.strip(" |"))
        and len(_cells(head)) == len(_cells(rule))
    )


def _table(rows: list[str]) -> list[str]:
    """A table as aligned columns in code: nothing else keeps columns below each other."""
    cells = [_cells(row) for row in rows]
    columns = max(map(len, cells))
    cells = [row + [""] * (columns - len(row)) for row in cells]
    widths = [max(len(row[k]) for row in cells) for k in range(columns)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in cells]
    lines.insert(1, "  ".join("-" * max(1, width) for width in widths))
    return _as_code(lines)
