"""The buttons below an answer: Stop while it grows, then Again and two thumbs.

All that a button needs stands in its id, so that it works after a restart. It must never obey
anybody but the person who asked.
"""

import re
from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple, Protocol

import discord
from discord import ui

from shared.messages import Outcome

Kind = Literal["stop", "unqueue", "again", "up", "down"]
Json = dict[str, Any]

STOP: Final[Kind] = "stop"
UNQUEUE: Final[Kind] = "unqueue"
"""The same below a message that says why a question waits, and that never becomes the answer."""

UNFINISHED: Final = frozenset({STOP, UNQUEUE})

_FACES: Final[dict[str, Json]] = {
    "stop": {"emoji": {"name": "⏹️"}, "label": "Stop"},
    "unqueue": {"emoji": {"name": "⏹️"}, "label": "Stop"},
    "again": {"emoji": {"name": "🔄"}},
    "up": {"emoji": {"name": "👍"}},
    "down": {"emoji": {"name": "👎"}},
}
_GREY, _GREEN = 2, 3
_BUTTON, _ROW = 2, 1

TEMPLATE: Final = (
    r"tw:(?P<kind>stop|unqueue|again|up|down):(?P<owner>\d{1,20}):(?P<prompt>[\w-]{1,60})"
)
_ID: Final = re.compile(TEMPLATE, re.ASCII)


def row_of(owner: int, prompt_id: str, *kinds: str, chosen: str = "") -> list[Json]:
    """One row of buttons, as Discord takes it; `chosen` is the thumb that was given."""
    buttons = [
        {
            "type": _BUTTON,
            "style": _GREEN if kind == chosen else _GREY,
            "custom_id": f"tw:{kind}:{owner}:{prompt_id}",
            **_FACES[kind],
        }
        for kind in kinds
    ]
    return [{"type": _ROW, "components": buttons}] if buttons else []


def final_row(owner: int, prompt_id: str, outcome: Outcome) -> list[Json]:
    """The buttons below a reply."""
    match outcome:
        case "answered":
            return row_of(owner, prompt_id, "again", "up", "down")
        case "stopped" | "failed":
            return row_of(owner, prompt_id, "again")
        case _:  # a refused question was never taken, so it cannot be asked again
            return []


class AnswerButtonId(NamedTuple):
    """What the id of one of our buttons says."""

    kind: str
    owner: int
    prompt: str


def buttons_on(message: Json) -> list[AnswerButtonId]:
    """Our buttons on a message, as Discord's history tells it."""
    return _parsed(custom_ids_on(message))


def marks_shown(message: discord.Message) -> list[AnswerButtonId]:
    """Our buttons on a message, as the library tells it."""
    return _parsed(getattr(button, "custom_id", None) or "" for button in _shown(message))


def custom_ids_on(message: Json) -> list[str]:
    """The ids of all buttons on a message."""
    rows = message.get("components") or ()
    return [b.get("custom_id") or "" for row in rows for b in row.get("components") or ()]


def thumb_on(message: discord.Message) -> str:
    """The thumb that is shown as given."""
    for button in _shown(message):
        match = _ID.fullmatch(getattr(button, "custom_id", None) or "")
        if match and getattr(button, "style", None) is discord.ButtonStyle.success:
            return match["kind"]
    return ""


def _parsed(ids: Iterable[str]) -> list[AnswerButtonId]:
    found = (_ID.fullmatch(one) for one in ids)
    return [AnswerButtonId(m["kind"], int(m["owner"]), m["prompt"]) for m in found if m]


def _shown(message: discord.Message) -> list[Any]:
    return [button for row in message.components for button in getattr(row, "children", ())]


class Presses(Protocol):
    """What the client does with a press."""

    async def pressed(
        self, interaction: "discord.Interaction[Any]", kind: str, owner: int, prompt_id: str
    ) -> None:
        """A person pressed a button of an answer."""


class AnswerButton(ui.DynamicItem[ui.Button[Any]], template=TEMPLATE):
    """Any button of ours, found by its id alone."""

    def __init__(self, item: ui.Button[Any], kind: str, owner: int, prompt_id: str) -> None:
        super().__init__(item)
        self.kind = kind
        self.owner = owner
        self.prompt_id = prompt_id

    @classmethod
    async def from_custom_id(
        cls, interaction: "discord.Interaction[Any]", item: ui.Item[Any], match: "re.Match[str]", /
    ) -> "AnswerButton":
        """The button of a press."""
        del interaction
        assert isinstance(item, ui.Button)  # noqa: S101  (the template names buttons only)
        return cls(item, match["kind"], int(match["owner"]), match["prompt"])

    async def callback(self, interaction: "discord.Interaction[Any]") -> None:
        """Hands the press on."""
        client: Presses = interaction.client
        await client.pressed(interaction, self.kind, self.owner, self.prompt_id)
