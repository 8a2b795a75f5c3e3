"""Questions that can be asked again, and how.

Pure. A newer question keeps what the first one had: files, quotes, persona and model. Quotes must
never leave their thread, nor reach readers who came into it later and cannot read them.
"""

from dataclasses import dataclass
from typing import Any, Final

from dataflow.audience import may_recall, same_thread
from dataflow.snapshot import Pending
from dataflow.turns import Turn
from shared.messages import Again, Ask, Attachment, Edited, Place, Quote

NOT_KEPT: Final = "It is too long or too old to be kept. It has to be attached again."


@dataclass(frozen=True, slots=True)
class Known:
    """A question by its words, its place in the order, and the id under which it came first."""

    text: str
    order: int
    first: str
    place: Place
    attachments: tuple[Attachment, ...]
    quotes: tuple[Quote, ...]
    persona: str | None
    model: str | None

    def says_something(self, text: str) -> bool:
        """Whether it can be asked with this text."""
        return bool(text.strip() or self.attachments)


def known_turn(turn: Turn) -> Known:
    """A question that is answered, or failed."""
    return Known(
        turn.question, turn.order, turn.first or turn.prompt_id, turn.place,
        turn.files, turn.context.quotes, turn.persona, turn.model,
    )  # fmt: skip


def known_pending(pending: Pending) -> Known:
    """A question that has no reply yet."""
    ask = pending.ask
    return Known(
        ask.text, pending.order, pending.replaces or ask.id, ask.place,
        ask.attachments, ask.quotes, ask.persona, ask.model,
    )  # fmt: skip


def ask_anew(event: Again | Edited, text: str, known: Known | None = None) -> Ask:
    """The question that an event asks. Its text may be empty only if there are files."""
    head: dict[str, Any] = {
        "id": event.id, "user": event.user, "place": event.place, "address": event.address,
        "said_at": event.said_at, "text": text,
    }  # fmt: skip
    if known is None:
        return Ask(**head)
    return Ask(
        **head,
        attachments=tuple(map(_noted, known.attachments)),
        quotes=known.quotes if _may_quote(known.place, event.place) else (),
        persona=known.persona,
        model=known.model,
    )


def _may_quote(said_in: Place, here: Place) -> bool:
    """Whether others' messages may be quoted again. A thread's readers change while it goes on."""
    return said_in == here or (same_thread(said_in, here) and may_recall(said_in, here))


def _noted(file: Attachment) -> Attachment:
    """A file whose text is not kept says so."""
    is_name_alone = file.text is None and file.blob is None and not file.note
    return file.model_copy(update={"note": NOT_KEPT}) if is_name_alone else file
