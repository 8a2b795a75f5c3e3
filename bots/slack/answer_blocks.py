"""What an answer looks like in Slack: blocks, buttons and fallback text. Pure: no I/O.

The blocks must hold all that a person reads, because Slack shows the text only without blocks.
"""

from typing import Any, Final

from bots.parts import Shape
from bots.platform import Part
from bots.slack.markup import drawable, escaped, escaped_length, fallback
from bots.slack.metadata import metadata_of, preview_metadata
from bots.slack.wording import ERASE, ERASE_SURELY, KEEP
from bots.slack.wording import FORGET as FORGET_TEXT

PART_CHARS: Final = 3_800
"""Slack refuses to edit a message of more than 4,000 characters (`msg_too_long`), and a code block
that is cut needs some of them for its end."""

SHAPE: Final = Shape(PART_CHARS, parts_limit=20, text_length=escaped_length, prepared=drawable)
"""How an answer is cut into messages."""

STOP, AGAIN, RATE = "threadwax_stop", "threadwax_again", "threadwax_rate"
FORGET = "threadwax_forget"
UP, DOWN = "up", "down"

_PLAIN: Final = "plain_text"

Block = dict[str, Any]


def message_of(part: Part) -> dict[str, Any]:
    """The arguments of `chat.postMessage` or `chat.update` for one part of a reply."""
    return {
        "text": fallback(part.text),
        "blocks": [_markdown(part.text), *buttons_of(part)],
        "metadata": metadata_of(part),
    }


def plain_message_of(part: Part) -> dict[str, Any]:
    """The same without blocks, in case Slack refuses them."""
    return {"text": escaped(part.text), "blocks": [], "metadata": metadata_of(part)}


def preview_of(prompt_id: str, text: str, user: str) -> dict[str, Any]:
    """The arguments for an answer that is still growing, with a button to stop it."""
    return {
        "text": fallback(text),
        "blocks": [_markdown(text), _actions(_button("Stop", STOP, value_of(user, prompt_id)))],
        "metadata": preview_metadata(prompt_id, user),
    }


def forget_question(user: str) -> list[Block]:
    """Asks whether everything about a user is to be erased; the button asks once more."""
    button = _button(ERASE, FORGET, value_of(user, "forget")) | {
        "style": "danger",
        "confirm": {
            "title": {"type": _PLAIN, "text": ERASE},
            "text": {"type": _PLAIN, "text": ERASE_SURELY},
            "confirm": {"type": _PLAIN, "text": ERASE},
            "deny": {"type": _PLAIN, "text": KEEP},
            "style": "danger",
        },
    }
    return [_markdown(FORGET_TEXT), _actions(button)]


def buttons_of(part: Part) -> list[Block]:
    """Again and the thumbs, below the last part of an answer that the conversation remembers."""
    if part.index != part.count - 1 or part.reply.outcome not in {"answered", "stopped"}:
        return []
    if part.reply.erased is not None:
        return []  # not an answer
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


def value_of(user: str, prompt_id: str) -> str:
    """A button's value: who asked, and which question."""
    return f"{user}|{prompt_id}"


def _markdown(text: str) -> Block:
    return {"type": "markdown", "text": escaped(text)}


def _actions(*elements: Block) -> Block:
    return {"type": "actions", "elements": list(elements)}


def _button(label: str, action: str, value: str) -> Block:
    text = {"type": _PLAIN, "text": label}
    return {"type": "button", "action_id": action, "text": text, "value": value}


def _thumb(label: str, value: str) -> Block:
    return {"text": {"type": _PLAIN, "text": label}, "accessibility_label": label, "value": value}
