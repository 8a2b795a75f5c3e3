"""Questions that can be asked again, and how.

Pure. A newer question keeps what the first one had: files, persona and model.
"""

from dataclasses import dataclass

from dataflow.saved import Pending
from dataflow.turns import Turn
from shared.messages import Again, Ask, Attachment, Edited


@dataclass(frozen=True, slots=True)
class Known:
    """A question by its words, its place in the order, and the id under which it came first."""

    text: str
    order: int
    first: str
    attachments: tuple[Attachment, ...]
    persona: str | None
    model: str | None


def known_turn(turn: Turn) -> Known:
    """A question that is answered, or failed."""
    first = turn.first or turn.prompt_id
    return Known(turn.question, turn.order, first, turn.files, turn.persona, turn.model)


def known_pending(pending: Pending) -> Known:
    """A question that has no reply yet."""
    ask = pending.ask
    first = pending.replaces or ask.id
    return Known(ask.text, pending.order, first, ask.attachments, ask.persona, ask.model)


def ask_anew(event: Again | Edited, text: str, known: Known | None = None) -> Ask:
    """The question that an event asks; `text` may be empty if there are files."""
    attachments = known.attachments if known else ()
    return Ask(
        id=event.id, user=event.user, place=event.place, address=event.address,
        said_at=event.said_at, text=text if text.strip() or attachments else "(again)",
        attachments=attachments, persona=known.persona if known else None,
        model=known.model if known else None,
    )  # fmt: skip
