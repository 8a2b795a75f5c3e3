"""What is written for each person's turns in a channel, and what is left out.

Pure. It must never yield a turn whose person or channel did not allow it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ops.export.examples import chat_line, pairs_of, preference_line
from ops.export.redacted import Redaction, redacted
from ops.export.selection import Consent, Filters, LeftOut, not_exemplary, unusable
from ops.export.table import row_of
from ops.export.turns import History, Reset, Turn
from shared.attested import needs_attestation

Format = Literal["chat", "dpo", "csv", "parquet"]

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be exported, and how. Without a redaction, texts stay as they are."""

    format: Format
    filters: Filters
    consent: Consent
    context_turns: int = 0
    redaction: Redaction | None = None


@dataclass(slots=True)
class Summary:
    """What was exported, and what was not.

    `attested` are the attestations that were needed. `replaced` counts what was redacted in the
    exported turns, by kind. Each turn counts once, however often it is context.
    """

    examples: int = 0
    turns: int = 0
    people: set[str] = field(default_factory=set)
    left_out: Counter[LeftOut] = field(default_factory=Counter)
    not_attested: Counter[tuple[str, str]] = field(default_factory=Counter)
    attested: dict[str, dict[str, str]] = field(default_factory=dict)
    replaced: Counter[str] = field(default_factory=Counter)


def rows_of(
    turns: Sequence[Turn], resets: Sequence[Reset], order: Order, summary: Summary
) -> Iterator[Row]:
    """The rows or lines for one person's turns in one channel; adds to the summary."""
    history = History(turns, resets)
    wanted = [turn for turn in history.turns if order.filters.match(turn)]
    summary.turns += len(wanted)
    allowed = [turn for turn in wanted if _is_allowed(turn, order.consent, summary)]
    if not allowed:
        return
    replaced: dict[str, Counter[str]] = {}
    if order.redaction is not None:
        # All turns, because each can be the context of another.
        clean = [redacted(turn, order.redaction) for turn in history.turns]
        replaced = {each.turn.prompt_id: each.replaced for each in clean}
        history = History([each.turn for each in clean], resets)
        chosen = {turn.prompt_id for turn in allowed}
        allowed = [turn for turn in history.turns if turn.prompt_id in chosen]
    for turn in allowed:
        found = list(_rows_of(turn, history, order, summary))
        if not found:
            continue
        summary.examples += len(found)
        summary.people.add(turn.user)
        summary.replaced.update(replaced.get(turn.prompt_id, {}))
        if needs_attestation(turn.platform) and turn.place is not None:
            text = order.consent.attestation(turn) or ""
            summary.attested.setdefault(turn.platform, {})[turn.place.channel] = text
        yield from found


def _rows_of(turn: Turn, history: History, order: Order, summary: Summary) -> Iterator[Row]:
    why: LeftOut | None = None
    if order.format == "chat":
        if (why := not_exemplary(history, turn)) is None:
            yield chat_line(turn, history.context(turn, order.context_turns))
    elif order.format == "dpo":
        if (why := unusable(turn)) is None:
            context = history.context(turn, order.context_turns)
            pairs = list(pairs_of(history, turn))
            why = None if pairs else LeftOut.NO_PAIR
            yield from (preference_line(turn, context, pair) for pair in pairs)
    elif turn.wordless:
        why = LeftOut.WORDLESS
    else:
        yield row_of(turn)
    if why is not None:
        summary.left_out[why] += 1


def _is_allowed(turn: Turn, consent: Consent, summary: Summary) -> bool:
    missing = consent.missing(turn)
    if missing is None:
        return True
    summary.left_out[missing] += 1
    if missing is LeftOut.NOT_ATTESTED:
        channel = turn.place.channel if turn.place is not None else ""
        summary.not_attested[turn.platform, channel] += 1
    return False
