"""Finds the message of a reply's part after a crash between its post and its receipt.

Pure: no I/O. A wrong match would leave a person without that part forever, a missed one shows it
twice. So it must never accept a message that may belong to another reply.

The last part of a reply has buttons that name it, and the first part refers to its question if both
are in the same channel. A part with neither counts as found only if

- it is directly before or after a part of the same reply that was found, or
- nobody but the asker had written there, and no later button shows that it is another reply's.

Two faults remain possible. A part without buttons that was posted just before a crash, in a channel
where others write, is shown twice if the adapter returns after Discord has forgotten its nonce. And
if Discord refused the buttons of two replies with the same text to the same person, and the first
of them was shown after the second question, a crash before the second is shown loses that one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from bots.discord.audience import user_id_of
from bots.discord.buttons import UNFINISHED, buttons_on
from bots.discord.payloads import Json, author_of, id_of, referenced_id
from bots.platform import Part

_SYSTEM: Final = frozenset({18, 21})
"""Messages that Discord posts in the name of a person who opens a thread."""

Whose = Literal["ours", "another's", "open"]


@dataclass(frozen=True, slots=True)
class WantedPart:
    """The part to find: the reply's prompt, its asker, its question, and all its parts."""

    prompt: str
    owner: int
    question: int
    texts: tuple[str, ...]
    index: int


def wanted_part(part: Part, pieces: Sequence[str]) -> WantedPart:
    """The part to find; `pieces` are the texts of all parts, as they are split now."""
    reply = part.reply
    # The relay may have split it differently; an empty text is never found.
    texts = [*(piece.strip() for piece in pieces), *[""] * part.count][: part.count]
    texts[part.index] = part.text.strip()
    return WantedPart(
        reply.prompt_id,
        user_id_of(reply.user),
        int(reply.address["message"]),
        tuple(texts),
        part.index,
    )


@dataclass(slots=True)
class _OwnMessage:
    """One of the bot's messages; `number` is the part of the reply that it shows, if that is known.

    `alone`: nobody but the asker had written there before it.
    """

    message: Json
    whose: Whose
    with_buttons: bool
    refers: bool
    alone: bool
    number: int | None = None


def find_part(messages: list[Json], wanted: WantedPart, me: int) -> Json | None:
    """The message of a part in one channel; `messages` also has those from before the question."""
    own = _own(messages, wanted, me)
    for at, one in enumerate(own):
        if one.whose == "open" and one.alone and _is_free(own, at):
            one.number = _next_with(own, _text(one.message), wanted.texts)
    for step in (-1, 1):
        for at in range(len(own))[::step]:
            _follow(own, at, step, wanted.texts)
    return next((one.message for one in own if one.number == wanted.index), None)


def _own(messages: list[Json], wanted: WantedPart, me: int) -> list[_OwnMessage]:
    found: list[_OwnMessage] = []
    alone = True
    for message in messages:
        author = author_of(message)
        if author != me:
            alone = alone and (author == wanted.owner or not _is_person(message))
            continue
        if id_of(message) <= wanted.question or message.get("type") in _SYSTEM:
            continue
        buttons = buttons_on(message)
        refers = referenced_id(message)
        one = _OwnMessage(message, "open", bool(buttons), refers != 0, alone)
        if buttons:
            ours = any(button.prompt == wanted.prompt for button in buttons)
            one.whose = "ours" if ours else "another's"
            growing = any(button.kind in UNFINISHED for button in buttons)
            one.number = len(wanted.texts) - 1 if ours and not growing else None
        elif refers:
            one.whose = "ours" if refers == wanted.question else "another's"
            same = one.whose == "ours" and _text(message) == wanted.texts[0]
            one.number = 0 if same else None
        found.append(one)
    return found


def _is_free(own: list[_OwnMessage], at: int) -> bool:
    """Whether no neighbour shows that a message without buttons belongs to another reply."""
    after = next((one for one in own[at + 1 :] if one.whose != "open"), None)
    if after is not None and after.whose == "another's" and after.with_buttons and not after.refers:
        return False  # the last part of another reply, whose parts come before it
    before = next((one for one in reversed(own[:at]) if one.whose != "open"), None)
    # The first part of another reply, whose parts come after it.
    return before is None or before.whose == "ours" or before.with_buttons


def _next_with(own: list[_OwnMessage], text: str, texts: tuple[str, ...]) -> int | None:
    """The first part with this text that no message shows yet."""
    taken = {one.number for one in own}
    found = (n for n, part in enumerate(texts) if part and part == text and n not in taken)
    return next(found, None)


def _follow(own: list[_OwnMessage], at: int, step: int, texts: tuple[str, ...]) -> None:
    """Number the message next to a numbered one if it shows the neighbouring part."""
    number, neighbour_at = own[at].number, at + step
    if number is None or not 0 <= neighbour_at < len(own) or not 0 <= number + step < len(texts):
        return
    neighbour = own[neighbour_at]
    if neighbour.whose == "open" and _text(neighbour.message) == texts[number + step]:
        neighbour.number = number + step


def _text(message: Json) -> str:
    return str(message.get("content") or "").strip()


def _is_person(message: Json) -> bool:
    author = message.get("author")
    return not (isinstance(author, dict) and author.get("bot")) and not message.get("webhook_id")
