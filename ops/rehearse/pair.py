"""The values of a rehearsal: one question with the old answer and the new one.

Pure. A pair is written to a file as JSON: no field may be renamed, and a new one needs a default.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from dataflow.model.answer_notes import FILTERED, is_cut_off, without_note
from dataflow.model.errors import NOTICES
from ops.rehearse.refusal_words import refuses
from shared.prices import Price, cost_microdollars
from shared.replies import Reply, Usage

Outcome = Literal["answered", "refused", "failed"]
"""`refused`: the model declined, in words or by its content filter."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One model's answer, without our notes at its end; if it failed, `text` says why.

    Times are milliseconds after the call; None if they are not known. `cost_microdollars` is None
    if the model's price or its tokens are not known.
    """

    outcome: Outcome
    text: str
    model: str
    cut_off: bool = False
    usage: Usage | None = None
    cost_microdollars: int | None = None
    first_text_ms: int | None = None
    whole_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Pair:
    """A question that was asked again. `messages`: how many its request holds.

    `complete`: the request is the one that was sent, as far as the log can show.
    """

    prompt_id: str
    user: str
    place: str
    question: str
    messages: int
    complete: bool
    old: Answer
    new: Answer
    v: Literal[1] = 1


def whole_answer(text: str, model: str, **fields: object) -> Answer:
    """The answer of a model that reached its end."""
    said = without_note(text)
    is_filtered = text.endswith(FILTERED)
    outcome: Outcome = "refused" if is_filtered or refuses(said) else "answered"
    return Answer(outcome, said.strip(), model, is_cut_off(text), **fields)  # type: ignore[arg-type]


def old_answer(reply: Reply, prices: Mapping[str, Price]) -> Answer:
    """The answer that a person got."""
    timings = reply.timings
    called_at = timings.called_at if timings is not None else None
    first_at = timings.first_token_at if timings is not None else None
    first_ms, whole_ms = _ms(called_at, first_at), _ms(called_at, reply.answered_at)
    if reply.outcome != "answered":
        outcome: Outcome = "refused" if reply.text == NOTICES["refused"] else "failed"
        return Answer(outcome, reply.text, reply.model, first_text_ms=first_ms, whole_ms=whole_ms)
    return whole_answer(
        reply.text,
        reply.model,
        usage=reply.usage,
        cost_microdollars=cost_microdollars(reply.model, reply.usage, prices),
        first_text_ms=first_ms,
        whole_ms=whole_ms,
    )


def _ms(since: datetime | None, until: datetime | None) -> int | None:
    if since is None or until is None:
        return None
    return max(0, round((until - since).total_seconds() * 1000))
