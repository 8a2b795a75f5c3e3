"""What we note in a message of ours, so that any process can find it again. Pure: no I/O.

The note is Slack's message metadata, or a block's id if Slack refuses metadata. A note in somebody
else's message must never be believed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bots.slack.answer_blocks import EVENT_TYPE
from bots.slack.payloads import mapping, mappings, text, value

BLOCK_ID_CHARS: Final = 255
"""Slack's limit."""

_FINAL, _PREVIEW = "final", "preview"


@dataclass(frozen=True, slots=True)
class Note:
    """Which part of which answer a message shows."""

    key: str
    final: bool
    asker: str

    @property
    def prompt_id(self) -> str:
        """The question that is answered."""
        return self.key.rpartition(".")[0]


def note_of(message: Mapping[str, Any], bot: str) -> Note | None:
    """The note in a message of the user `bot`; None if there is none, or none yet."""
    if not bot or message.get("user") != bot:
        return None
    if text(message, "metadata", "event_type") == EVENT_TYPE:
        payload = mapping(message, "metadata", "event_payload")
        final = value(payload, "final") is True
        return Note(text(payload, "key"), final, text(payload, "asker"))
    for block in mappings(message, "blocks"):
        mark, _, rest = text(block, "block_id").partition("|")
        state, _, rest = rest.partition("|")
        asker, _, key = rest.partition("|")
        if mark == EVENT_TYPE and key:
            return Note(key, state == _FINAL, asker)
    return None


def marked(blocks: list[dict[str, Any]], metadata: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The blocks with the note of `metadata` as a block's id; adds a thin line if it has to.

    Slack keeps the id of a row of buttons, but not that of a markdown block.
    """
    payload = mapping(metadata, "event_payload")
    state = _FINAL if value(payload, "final") is True else _PREVIEW
    mark = "|".join((EVENT_TYPE, state, text(payload, "asker"), text(payload, "key")))
    if len(mark) > BLOCK_ID_CHARS:
        return blocks
    for number, block in enumerate(blocks):
        if block.get("type") == "actions":
            return [*blocks[:number], {**block, "block_id": mark}, *blocks[number + 1 :]]
    return [*blocks, {"type": "divider", "block_id": mark}]
