"""The metadata of our messages, with which any process can find them again. Pure: no I/O.

It is Slack's message metadata, or the id of a block if Slack refuses metadata. Metadata in somebody
else's message must never be believed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bots.platform import Part
from bots.slack.payloads import mapping, mappings, text, value

EVENT_TYPE: Final = "threadwax"
"""Marks our metadata among that of other apps."""

BLOCK_ID_CHARS: Final = 255
"""Slack's limit."""

_FINAL, _PREVIEW = "final", "preview"


@dataclass(frozen=True, slots=True)
class Metadata:
    """Which part of which answer a message shows, and for whom."""

    key: str
    final: bool
    """False while the answer is growing."""
    asker: str

    @property
    def prompt_id(self) -> str:
        """The question that is answered."""
        return self.key.rpartition(".")[0]


def read_metadata(message: Mapping[str, Any], bot: str) -> Metadata | None:
    """The metadata of a message by the user `bot`; None if it has none, or none yet."""
    if not bot or message.get("user") != bot:
        return None
    if text(message, "metadata", "event_type") == EVENT_TYPE:
        payload = mapping(message, "metadata", "event_payload")
        final = value(payload, "final") is True
        return Metadata(text(payload, "key"), final, text(payload, "asker"))
    for block in mappings(message, "blocks"):
        mark, _, rest = text(block, "block_id").partition("|")
        state, _, rest = rest.partition("|")
        asker, _, key = rest.partition("|")
        if mark == EVENT_TYPE and key:
            return Metadata(key, state == _FINAL, asker)
    return None


def metadata_of(part: Part, *, final: bool = True) -> dict[str, Any]:
    """The metadata for a part; `final` if the message shows all of it."""
    return _metadata(part.key, part.reply.address.get("user", ""), final=final)


def preview_metadata(prompt_id: str, user: str) -> dict[str, Any]:
    """The metadata for a growing answer, which becomes the first part."""
    return _metadata(f"{prompt_id}.0", user, final=False)


def _metadata(key: str, user: str, *, final: bool) -> dict[str, Any]:
    payload = {"key": key, "final": final, "asker": user}
    return {"event_type": EVENT_TYPE, "event_payload": payload}


def with_block_id(
    blocks: list[dict[str, Any]], metadata: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The blocks with the metadata as a block's id; adds a divider if there are no buttons.

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
