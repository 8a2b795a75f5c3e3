"""The buttons below an answer: Stop while it grows, then Again and two thumbs.

A button's id holds everything that it needs, so that it works after a restart. It must never obey
anybody but the person who asked.
"""

import re
from collections.abc import Iterable
from typing import Any, Final, Literal, NamedTuple

import discord
from discord import ui

from shared.replies import Outcome

Kind = Literal["stop", "unqueue", "again", "up", "down", "correct", "forget"]
Json = dict[str, Any]

STOP: Final[Kind] = "stop"
UNQUEUE: Final[Kind] = "unqueue"
"""Looks like Stop, below a status message that says why a question waits and is deleted before
the answer begins."""

UNFINISHED: Final = frozenset({STOP, UNQUEUE})

_FACES: Final[dict[str, Json]] = {
    "stop": {"emoji": {"name": "⏹️"}, "label": "Stop"},
    "unqueue": {"emoji": {"name": "⏹️"}, "label": "Stop"},
    "again": {"emoji": {"name": "🔄"}},
    "up": {"emoji": {"name": "👍"}},
    "down": {"emoji": {"name": "👎"}},
    "correct": {"emoji": {"name": "✏️"}},
}
_GREY, _GREEN = 2, 3
_BUTTON, _ROW = 2, 1

PROMPT: Final = r"(?P<owner>\d{1,20}):(?P<prompt>[\w-]{1,60})"
"""In an id: who asked, and which question."""

TEMPLATE: Final = rf"tw:(?P<kind>stop|unqueue|again|up|down|correct|forget):{PROMPT}"
_ID: Final = re.compile(TEMPLATE, re.ASCII)


def row_of(owner: int, prompt_id: str, *kinds: str, chosen: str = "") -> list[Json]:
    """One row of buttons as Discord takes it; `chosen` is the thumb that was given."""
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


def rated_row(owner: int, prompt_id: str, thumb: str) -> list[Json]:
    """The buttons below an answer that has this thumb (empty: none)."""
    more = ("correct",) if thumb == "down" else ()
    return row_of(owner, prompt_id, "again", "up", "down", *more, chosen=thumb)


def forget_button(owner: int, label: str) -> ui.View:
    """The button that erases everything about a person, below the question whether to do it."""
    view = ui.View(timeout=None)
    view.add_item(
        ui.Button(label=label, style=discord.ButtonStyle.danger, custom_id=f"tw:forget:{owner}:all")
    )
    view.stop()  # `AnswerButton` handles it
    return view


def final_row(owner: int, prompt_id: str, outcome: Outcome) -> list[Json]:
    """The buttons below a finished reply."""
    match outcome:
        case "answered":
            return row_of(owner, prompt_id, "again", "up", "down")
        case "stopped" | "failed":
            return row_of(owner, prompt_id, "again")
        case _:  # a refused question was never stored, so it cannot be asked again
            return []


class AnswerButtonId(NamedTuple):
    """The parsed id of one of the bot's buttons."""

    kind: str
    owner: int
    prompt: str


def buttons_on(message: Json) -> list[AnswerButtonId]:
    """The bot's answer buttons on a message from the REST API."""
    return _parsed(custom_ids_on(message))


def custom_ids_on(message: Json) -> list[str]:
    """The ids of all buttons on a message."""
    rows = message.get("components") or ()
    return [b.get("custom_id") or "" for row in rows for b in row.get("components") or ()]


def thumb_on(message: discord.Message) -> str:
    """The thumb that is highlighted on a message; empty if none is."""
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
