"""Questions that can be asked again, and how.

Pure. A new question keeps what the earlier one came with: files, quotes, persona, model and
roles. Quotes must never leave their thread, nor reach readers who joined later and cannot read
them.
"""

from dataclasses import dataclass
from typing import Any, Final

from dataflow.audience import may_recall, same_thread
from dataflow.pending import Pending
from dataflow.turn import Turn
from shared.messages import Again, Ask, Attachment, Edited, Place, Quote

NOT_KEPT: Final = "It is too long or too old to be kept. Please attach it again."


@dataclass(frozen=True, slots=True)
class EarlierQuestion:
    """A question that was asked before. `first` is the id under which it was first asked."""

    text: str
    order: int
    first: str
    place: Place
    attachments: tuple[Attachment, ...]
    quotes: tuple[Quote, ...]
    persona: str | None
    model: str | None
    roles: tuple[str, ...]

    def can_be_asked_with(self, text: str) -> bool:
        """Whether it asks anything with this text: the text may be empty if there are files."""
        return bool(text.strip() or self.attachments)


def from_turn(turn: Turn) -> EarlierQuestion:
    """A question that was answered or failed."""
    return EarlierQuestion(
        turn.question, turn.order, turn.first or turn.prompt_id, turn.place,
        turn.files, turn.context.quotes, turn.persona, turn.model,
        turn.roles,
    )  # fmt: skip


def from_pending(pending: Pending) -> EarlierQuestion:
    """A question without a reply."""
    ask = pending.ask
    return EarlierQuestion(
        ask.text, pending.order, pending.replaces or ask.id, ask.place,
        ask.attachments, ask.quotes, ask.persona, ask.model,
        ask.roles,
    )  # fmt: skip


def ask_of(event: Again | Edited, text: str, earlier: EarlierQuestion | None = None) -> Ask:
    """The question that an event asks. Its text may be empty only if there are files."""
    head: dict[str, Any] = {
        "id": event.id, "user": event.user, "place": event.place, "address": event.address,
        "said_at": event.said_at, "text": text,
    }  # fmt: skip
    if earlier is None:
        return Ask(**head)
    return Ask(
        **head,
        attachments=tuple(map(_noted, earlier.attachments)),
        quotes=earlier.quotes if _may_quote(earlier.place, event.place) else (),
        persona=earlier.persona,
        model=earlier.model,
        roles=earlier.roles,
    )


def _may_quote(said_in: Place, here: Place) -> bool:
    """Whether others' messages may be quoted again: the readers of a thread change over time."""
    return said_in == here or (same_thread(said_in, here) and may_recall(said_in, here))


def _noted(file: Attachment) -> Attachment:
    """The file, with a note if its text is not kept."""
    is_only_a_name = file.text is None and file.blob is None and not file.note
    return file.model_copy(update={"note": NOT_KEPT}) if is_only_a_name else file
