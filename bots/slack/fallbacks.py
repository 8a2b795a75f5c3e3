"""Variants of a message, from complete to barest, in case Slack refuses a part. Pure: no I/O.

Slack may refuse any optional argument with a code that does not say which one. Every variant must
keep the answer's text, notify nobody, and preview no link that the model chose.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from bots.platform import Part
from bots.slack.answer_blocks import Block, message_of, plain_message_of
from bots.slack.markup import defanged, escaped
from bots.slack.metadata import with_block_id

NO_LINK_PREVIEWS: Final = {"unfurl_links": False, "unfurl_media": False}
"""A link preview is a request to a host that the model chose."""

_QUESTION_CHARS: Final = 200
_ROWS: Final = frozenset({"actions", "context_actions"})


@dataclass(frozen=True, slots=True)
class Variant:
    """One variant of a message; `without` names what it leaves out."""

    without: str
    message: dict[str, Any]


def variants_of(part: Part, *, with_question: bool, known: frozenset[str]) -> list[Variant]:
    """The arguments of `chat.postMessage` for a part, the complete message first.

    `with_question`: the message begins with its question, because it is not in the thread. The last
    variants cannot turn link previews off, so only links to `known` hosts stay links there.
    """

    def questioned(message: dict[str, Any]) -> dict[str, Any]:
        return _with_question(part, message) if with_question else message

    whole = {**questioned(message_of(part)), **NO_LINK_PREVIEWS}
    plain = {**questioned(plain_message_of(part)), **NO_LINK_PREVIEWS}
    safe = replace(part, text=defanged(part.text, known))
    blocks: list[Block] = whole["blocks"]
    found = [
        Variant("", whole),
        Variant("feedback", {**whole, "blocks": _other_blocks(blocks, "context_actions")}),
        Variant("metadata", _without_metadata(whole)),
        Variant("buttons", {**whole, "blocks": _other_blocks(blocks, *_ROWS)}),
        Variant("blocks", plain),
        Variant("preview flags", questioned(message_of(safe))),
        Variant("everything", {"text": questioned(plain_message_of(safe))["text"]}),
    ]
    return [one for n, one in enumerate(found) if one.message not in [o.message for o in found[:n]]]


def next_variant(variants: Iterable[Variant], refused: Iterable[str], code: str) -> Variant | None:
    """The variant to try after Slack refused some, the last one with `code`; None if none is left.

    A code that names metadata or blocks decides which variant comes first.
    """
    tried = set(refused)
    left = [one for one in variants if one.without not in tried]
    if "metadata" in code:
        hinted = {"metadata"}
    elif "block" in code:
        hinted = {"feedback", "buttons", "blocks"}
    else:
        hinted = set()
    return next((one for one in left if one.without in hinted), next(iter(left), None))


def _other_blocks(blocks: list[Block], *kinds: str) -> list[Block]:
    return [block for block in blocks if block["type"] not in kinds]


def _without_metadata(message: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in message.items() if key != "metadata"}
    return {**rest, "blocks": with_block_id(message["blocks"], message["metadata"])}


def _with_question(part: Part, message: dict[str, Any]) -> dict[str, Any]:
    """The message with its question above it, if it is the answer's first part."""
    question = " ".join(part.reply.prompt_text.split())[:_QUESTION_CHARS]
    if not question or part.index:
        return message
    line = f"> {escaped(question)}"
    if not message["blocks"]:
        return {**message, "text": f"{line}\n{message['text']}"}
    return {**message, "blocks": [{"type": "markdown", "text": line}, *message["blocks"]]}
