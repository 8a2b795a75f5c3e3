"""The forms of one message, from complete to barest, for when Slack refuses a part. Pure: no I/O.

Slack may refuse any optional argument with a code that does not say which one. Every form must
keep the answer's words, notify nobody, and preview no link that the model chose.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from bots.platform import Part
from bots.slack.answer_blocks import Block, message_of, plain_message_of
from bots.slack.markup import defanged, escaped
from bots.slack.metadata import marked

NO_PREVIEWS: Final = {"unfurl_links": False, "unfurl_media": False}
"""A preview of a link is a request to a host that the model chose."""

_QUESTION_CHARS: Final = 200
_ROWS: Final = frozenset({"actions", "context_actions"})


@dataclass(frozen=True, slots=True)
class Version:
    """One form of a message; `without` names what it leaves out."""

    without: str
    message: dict[str, Any]


def versions_of(part: Part, *, named: bool, known: frozenset[str]) -> list[Version]:
    """The arguments of `chat.postMessage` for a part, the whole message first.

    `named`: away from its thread, an answer names its question. Only links to `known` hosts stay
    links where Slack cannot be kept from previewing them.
    """
    whole = _named(part, message_of(part)) if named else message_of(part)
    plain = _named(part, plain_message_of(part)) if named else plain_message_of(part)
    safe = replace(part, text=defanged(part.text, known))
    bare = _named(safe, plain_message_of(safe)) if named else plain_message_of(safe)
    blocks: list[Block] = whole["blocks"]
    found = [
        Version("", {**whole, **NO_PREVIEWS}),
        Version("feedback", {**whole, **NO_PREVIEWS, "blocks": _others(blocks, "context_actions")}),
        Version("metadata", _without_metadata({**whole, **NO_PREVIEWS})),
        Version("buttons", {**whole, **NO_PREVIEWS, "blocks": _others(blocks, *_ROWS)}),
        Version("blocks", {**plain, **NO_PREVIEWS}),
        Version("preview flags", _named(safe, message_of(safe)) if named else message_of(safe)),
        Version("everything", {"text": bare["text"]}),
    ]
    return [one for n, one in enumerate(found) if one.message not in [o.message for o in found[:n]]]


def next_version(versions: Iterable[Version], refused: Iterable[str], code: str) -> Version | None:
    """The version to try after Slack refused some, the last one with `code`; None: no more."""
    tried = set(refused)
    left = [one for one in versions if one.without not in tried]
    if "metadata" in code:
        hinted = {"metadata"}
    elif "block" in code:
        hinted = {"feedback", "buttons", "blocks"}
    else:
        hinted = set()
    return next((one for one in left if one.without in hinted), next(iter(left), None))


def _others(blocks: list[Block], *kinds: str) -> list[Block]:
    return [block for block in blocks if block["type"] not in kinds]


def _without_metadata(message: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in message.items() if key != "metadata"}
    return {**rest, "blocks": marked(message["blocks"], message["metadata"])}


def _named(part: Part, message: dict[str, Any]) -> dict[str, Any]:
    """The message with its question above it."""
    question = " ".join(part.reply.prompt_text.split())[:_QUESTION_CHARS]
    if not question or part.index:
        return message
    line = f"> {escaped(question)}"
    if not message["blocks"]:
        return {**message, "text": f"{line}\n{message['text']}"}
    return {**message, "blocks": [{"type": "markdown", "text": line}, *message["blocks"]]}
