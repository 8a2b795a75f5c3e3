"""The tags around reasoning, and whether a closing tag without an opening one ends reasoning.

Pure.
"""

import re
from typing import Final

TAGS: Final[dict[str, str]] = {
    "<think>": "</think>",  # DeepSeek, Qwen, MiniMax, GLM
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",  # Gemini
    "<thoughts>": "</thoughts>",
    "<reasoning>": "</reasoning>",
    "<seed:think>": "</seed:think>",  # ByteDance Seed
    "[think]": "[/think]",  # Mistral
    "◁think▷": "◁/think▷",  # Kimi
    "<|start_thinking|>": "<|end_thinking|>",  # Cohere
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|channel>thought": "<channel|>",  # Gemma 4
}
WRAPPERS: Final[dict[str, str]] = {
    "<answer>": "</answer>",  # Hunyuan
    "<|start_response|>": "<|end_response|>",  # Cohere
    "<|begin_of_solution|>": "<|end_of_solution|>",  # OpenThinker
}
OPENINGS: Final = (*TAGS, "<|channel|>", "<|start|>", "<|message|>")
FIRST: Final = frozenset(opening[0] for opening in OPENINGS)
BODY: Final = "<|message|>"
FINAL: Final = "<|channel|>final<|message|>"
STRIPPED: Final = "assistantfinal"

WITH_ATTRIBUTES: Final = re.compile(
    r"<([a-z:]+)"
    r"""(?:\s+[\w:-]{1,20}\s?=\s?(?:"[^"<>]{0,60}"|'[^'<>]{0,60}'|[^\s"'<>]{1,60}))*\s?/?>""",
    re.IGNORECASE,
)
ATTRIBUTES_BEGUN: Final = re.compile(r"<([a-z:]+)(?:\s[^<>]{0,99}|/)?\Z", re.IGNORECASE)


def _pattern(tag: str) -> str:
    """A closing tag, with blanks before its end."""
    return (
        re.escape(tag).removesuffix(">") + r"\s{0,3}>" if tag.startswith("</") else re.escape(tag)
    )


CLOSES: Final = {tag: re.compile(_pattern(end), re.IGNORECASE) for tag, end in TAGS.items()}
LONE: Final = re.compile("|".join(map(_pattern, [*TAGS.values(), FINAL, STRIPPED])), re.IGNORECASE)
MENTIONED: Final = re.compile("|".join(map(re.escape, TAGS)), re.IGNORECASE)
ENDS: Final = re.compile(r"<\|(?:end|return|call|start|channel)\|>")
END_PREFIX: Final = re.compile(r"<(?:\|[a-z]{0,7}\|?)?\Z")
END_CHARS: Final = len("<|channel|>")
HIDDEN: Final = re.compile(r"<\|channel\|>\s*(?:analysis|commentary)")
NAMED: Final = re.compile(r"\s*analysis\S")
FENCE: Final = re.compile(r"^ {0,3}(?:```|~~~)", re.MULTILINE)

TAIL_CHARS: Final = 40
"""Longer than any marker together with the character after it."""

HEADER_CHARS: Final = 200
"""Longest header of a message. A longer one is part of the answer."""

LONE_TRIES: Final = 8
"""Closing tags that are examined in one answer, each of which reads the whole text."""

HTML_CODE: Final = ("<code>", "<kbd>")
BEFORE_MENTION: Final = " \t\"'(\u201c\u2018\u00ab\u201e"
AFTER_MENTION: Final = frozenset(["", *".,;:!?\"')"])
"""The characters around a tag that a sentence mentions."""


def ends_reasoning(before: str, tag: str, after: str) -> bool:
    """Whether everything before this closing tag is reasoning."""
    if tag == STRIPPED:
        return bool(NAMED.match(before)) and not before[-1].isspace() and after != ""
    line = before[before.rfind("\n") + 1 :]
    if len(FENCE.findall(before)) % 2 or line.count("`") % 2 or line.endswith(("    ", "\t")):
        return False  # in code
    if tag == FINAL:
        return True
    if MENTIONED.search(before) or line.count("**") % 2 or line.lower().endswith(HTML_CODE):
        return False  # it is mentioned, or marked in a sentence
    if not line.strip() or after in {"\n", "\r"}:
        return True
    return line[-1] not in BEFORE_MENTION and after not in AFTER_MENTION
