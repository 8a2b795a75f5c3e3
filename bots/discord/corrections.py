"""The form in which people say what was wrong with an answer, and what it should have been.

The button for it appears after a thumb down. The form's id holds everything that it needs, so that
it works after a restart, when discord.py no longer knows it.
"""

import re
from typing import Any, Final, NamedTuple

import discord
from discord import ui

from bots.discord.buttons import PROMPT
from bots.discord.payloads import Json, dict_in
from bots.discord.wording import notice_text
from shared.messages import REASON_LIMIT_CHARS

INPUT_CHARS: Final = 4_000
"""Discord's limit for a text input."""

_REASON, _CORRECTION = "reason", "correction"
_ID: Final = re.compile(rf"tw:correction:{PROMPT}", re.ASCII)


class Correction(NamedTuple):
    """What a person wrote about the answer to one of their questions; either can be empty."""

    owner: int
    prompt_id: str
    reason: str
    correction: str


def form_for(owner: int, prompt_id: str, locale: object) -> ui.Modal:
    """The form to send: two texts, both optional."""
    form = ui.Modal(
        title=notice_text("better answer", locale),
        custom_id=f"tw:correction:{owner}:{prompt_id}",
        timeout=None,
    )
    for name, label, limit in (
        (_REASON, "wrong?", REASON_LIMIT_CHARS),
        (_CORRECTION, "better?", INPUT_CHARS),
    ):
        text: ui.TextInput[Any] = ui.TextInput(
            label=notice_text(label, locale),
            style=discord.TextStyle.paragraph,
            custom_id=name,
            required=False,
            max_length=limit,
        )
        form.add_item(text)
    return form


def correction_in(data: Json) -> Correction | None:
    """What was written in a submitted form; None if it is not ours."""
    match = _ID.fullmatch(str(data.get("custom_id") or ""))
    if match is None:
        return None
    inputs = [dict_in(one) for row in data.get("components") or () for one in _inputs(dict_in(row))]
    texts = {one.get("custom_id"): str(one.get("value") or "").strip() for one in inputs}
    return Correction(
        int(match["owner"]), match["prompt"], texts.get(_REASON, ""), texts.get(_CORRECTION, "")
    )


def _inputs(row: Json) -> list[Any]:
    """The inputs of a row, or the one of a label, in which newer clients send them."""
    found = row.get("components") or ([row["component"]] if "component" in row else [])
    return list(found)
