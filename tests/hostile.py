"""Texts of any length that slow down careless parsers, for tests and benchmarks."""

import json
from collections.abc import Callable

UNITS = [
    "a", "a.", "word ", "A sentence. ", "日本", "e\u0301", "\u0301", "\u200d", "😀", "👍🏽",
    "\U0001f1e9", "\U0001f468\u200d", "\ud83d", "\ud83d\ude00", "\0", "\x1b[", "\x1b]", "\x9d",
    "\x9b0", " ", "\n", "\r", "\t", "\n ", " \n\n", "[", "![", "[]", "[a](", "![a](", '![a](b "',
    "[a](<b", "[a]: b\n", "](", "]", "[[a](b)", "`", "` ", "``` ", "```\n", "~~~\n", "> ```\n",
    "- ```\n", "*", "*a ", "**a* ", "_a_", "***\n", "---\n", "a\n---\n", "===\n", "#", "#### ",
    "#### a\n", "|", "|a", "|a\n", "|a|b|\n", "|a|b|\n|-|-|\n", "> ", "> a\n", ">", "- ", "- a\n",
    "-\n", "1. ", "1. a\n", "- [ ] a\n", "  - a\n", "    a\n", "<", "<a", "<@", "<@1", "<@U1|",
    "<!--", "<br>", "<br", "<a:", "&", "&lt;", "&#", "http://", "https://a.b/", "https://a.b/ ",
    "://", ":", ":/", "a:", "www.", "w", "@", "$", "$ ", "$a_", "$a_$ ", "$$", "$$\n", "\\",
    "\\(", "\\(a", "\\[\n", "\\]", '"', "'", "{", "=", "_", "_41", "-", "~", "(", ")", "!", "?)",
    "…", "。",
]  # fmt: skip
HOSTILE: dict[str, Callable[[int], str]] = {
    repr(unit): (lambda n, unit=unit: unit * (n // len(unit))) for unit in UNITS
} | {
    "letters and a space": lambda n: "a" * n + " ",
    "a dollar and equals": lambda n: "$" + "=" * n,
    "a bar and letters": lambda n: "|" + "a" * n + "|",
    "brackets closed": lambda n: "[" * (n // 2) + "]" * (n // 2),
    "brackets in blocks": lambda n: ("![" * 99 + "](b)\n\n") * (n // 204),
    "growing backticks": lambda n: " ".join("`" * k for k in range(int((2 * n) ** 0.5))),
    "columns": lambda n: "|a" * (n // 5) + "\n" + "|-" * (n // 5) + "\n|b",
    "columns and rows": lambda n: (
        "|a" * (n // 8) + "|\n" + "|-" * (n // 8) + "|\n" + "|\n" * (n // 4)
    ),
    "long header": lambda n: "|" + "h" * (n // 2) + "|b|\n|-|-|\n" + "|1|2|\n" * (n // 12),
    "long cell": lambda n: "|a|b|\n|-|-|\n" + "|1|2|\n" * (n // 12) + "|" + "c" * (n // 2),
    "lazy quote": lambda n: "> " * 20 + "a\n" * (n // 2),
    "indented table": lambda n: "|a|\n|-|\n" + (" " * 100 + "|a|\n") * (n // 104),
    "formulas in a quote": lambda n: "> > > > " + "$x_1$<br>" * (n // 9),
    "spaces in a rule": lambda n: "-" + " " * n + "a",
    "spaces in a heading": lambda n: "#### a" + " " * n + "b",
    "marks of a heading": lambda n: "#### a" + " #" * (n // 2) + "b",
    "open fence": lambda n: "```\n" + "a" * n,
    "long information": lambda n: "```" + "a" * n + "\n" + "b\n" * 100,
    "spaces in a tag": lambda n: "<" + " /" * (n // 2) + "quote",
    "spaces": lambda n: "$x_1$" + " " * n + "x",
    "json": lambda n: json.dumps([[]] * (n // 4)),
    "deep json": lambda n: '{"a":' * (n // 5),
}
