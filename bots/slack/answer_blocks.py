"""What a message of ours looks like in Slack: its blocks, fallback text and metadata. Pure.

The words that a person reads must stand in the blocks, because blocks hide the text.
"""

from typing import Any, Final

from bots.parts import Shape
from bots.platform import Part
from bots.slack.markup import drawable, escaped, escaped_length, fallback

EVENT_TYPE: Final = "threadwax"
"""Marks our messages, so that they can be found again."""

PART_CHARS: Final = 3_800
"""Below 4,000, over which Slack refuses to edit a message (`msg_too_long`), with room for what
closes a fence."""

SHAPE: Final = Shape(PART_CHARS, parts_limit=20, text_length=escaped_length, prepared=drawable)
"""How an answer is cut into messages."""

STOP, AGAIN, RATE = "threadwax_stop", "threadwax_again", "threadwax_rate"
UP, DOWN = "up", "down"

_PLAIN: Final = "plain_text"

Block = dict[str, Any]


def message_of(part: Part) -> dict[str, Any]:
    """The arguments of `chat.postMessage` or `chat.update` for one part of a reply."""
    return {
        "text": fallback(part.text),
        "blocks": [_words(part.text), *buttons_of(part)],
        "metadata": metadata_of(part),
    }


def plain_message_of(part: Part) -> dict[str, Any]:
    """The same without blocks, for a Slack that refuses them."""
    return {"text": escaped(part.text), "blocks": [], "metadata": metadata_of(part)}


def preview_of(prompt_id: str, text: str, user: str) -> dict[str, Any]:
    """The arguments for an answer that still grows, with a button to stop it."""
    return {
        "text": fallback(text),
        "blocks": [_words(text), _actions(_button("Stop", STOP, value_of(user, prompt_id)))],
        "metadata": _metadata(f"{prompt_id}.0", user, final=False),
    }


def buttons_of(part: Part) -> list[Block]:
    """Again and thumbs, below the last part of an answer that the flow remembers."""
    if part.index != part.count - 1 or part.reply.outcome not in {"answered", "stopped"}:
        return []
    value = value_of(part.reply.address.get("user", ""), part.reply.prompt_id)
    thumbs = {
        "type": "feedback_buttons",
        "action_id": RATE,
        "positive_button": _thumb("Good answer", f"{UP}|{value}"),
        "negative_button": _thumb("Bad answer", f"{DOWN}|{value}"),
    }
    return [
        _actions(_button("Again", AGAIN, value)),
        {"type": "context_actions", "elements": [thumbs]},
    ]


def metadata_of(part: Part, *, final: bool = True) -> dict[str, Any]:
    """By what a posted part is found again; `final`: it stands there whole."""
    return _metadata(part.key, part.reply.address.get("user", ""), final=final)


def _metadata(key: str, user: str, *, final: bool) -> dict[str, Any]:
    payload = {"key": key, "final": final, "asker": user}
    return {"event_type": EVENT_TYPE, "event_payload": payload}


def value_of(user: str, prompt_id: str) -> str:
    """What a button carries: whose question, and which."""
    return f"{user}|{prompt_id}"


def _words(text: str) -> Block:
    return {"type": "markdown", "text": escaped(text)}


def _actions(*elements: Block) -> Block:
    return {"type": "actions", "elements": list(elements)}


def _button(label: str, action: str, value: str) -> Block:
    text = {"type": _PLAIN, "text": label}
    return {"type": "button", "action_id": action, "text": text, "value": value}


def _thumb(label: str, value: str) -> Block:
    return {"text": {"type": _PLAIN, "text": label}, "accessibility_label": label, "value": value}
