"""The figures of a rehearsal: both sides, and what the judge preferred.

Pure. A figure that is not known is None, never zero.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, get_args

from ops.rehearse.judging import Judgement, Verdict, judgement_of
from ops.rehearse.pair import Answer

Z_95: Final = 1.96
"""The quantile of the normal distribution for 95 %."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of all pairs. Times are in milliseconds, lengths in characters.

    The cost is the sum of those that are known; `without_cost` counts the other answers.
    """

    answers: int
    answered: int
    refused: int
    failed: int
    cut_off: int
    microdollars: int
    without_cost: int
    prompt_tokens: int
    completion_tokens: int
    first_text_ms: int | None
    whole_ms: int | None
    slowest_whole_ms: int | None
    chars: int | None
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judgements:
    """The judge's preferences by pair; `order`: it changed its mind with the order.

    `new_share` is the share of the new side among the pairs that one side won, with the 95 %
    interval of Wilson; None if no side won any. `agreement` is the share of pairs with the same
    verdict in both orders, of those with two readable verdicts.
    """

    new: int
    old: int
    tie: int
    order: int
    unclear: int
    new_share: float | None
    interval: tuple[float, float] | None
    agreement: float | None


def side_of(answers: Sequence[Answer]) -> Side:
    """The figures of one side. Medians, and the 95th percentile for the slowest."""
    outcomes = Counter(answer.outcome for answer in answers)
    heard = [answer for answer in answers if answer.outcome != "failed"]
    costs = [answer.cost_microdollars for answer in answers]
    wholes = [answer.whole_ms for answer in heard]
    return Side(
        answers=len(answers),
        answered=outcomes["answered"],
        refused=outcomes["refused"],
        failed=outcomes["failed"],
        cut_off=sum(answer.cut_off for answer in answers),
        microdollars=sum(cost or 0 for cost in costs),
        without_cost=sum(cost is None for cost in costs),
        prompt_tokens=sum(answer.usage.prompt_tokens for answer in answers if answer.usage),
        completion_tokens=sum(answer.usage.completion_tokens for answer in answers if answer.usage),
        first_text_ms=quantile([answer.first_text_ms for answer in heard], 0.5),
        whole_ms=quantile(wholes, 0.5),
        slowest_whole_ms=quantile(wholes, 0.95),
        chars=quantile([len(answer.text) for answer in heard], 0.5),
        models=tuple(sorted({answer.model for answer in answers if answer.model})),
    )


def judgements_of(verdicts: Iterable[tuple[Verdict, Verdict]]) -> Judgements:
    """What the judge preferred, from its verdicts for both orders of each pair."""
    found = Counter(judgement_of(*both) for both in verdicts)
    count = {name: found[name] for name in get_args(Judgement)}
    decided = count["new"] + count["old"]
    agreed = decided + count["tie"]
    readable = agreed + count["order"]
    return Judgements(
        **count,
        new_share=count["new"] / decided if decided else None,
        interval=wilson(count["new"], decided) if decided else None,
        agreement=agreed / readable if readable else None,
    )


def quantile(values: Iterable[int | None], part: float) -> int | None:
    """The value below which this part of the known values lies, by nearest rank."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    return known[max(0, math.ceil(part * len(known)) - 1)]


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share, also right for few trials.

    https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval#Wilson_score_interval
    """
    share = successes / trials
    divisor = 1 + Z_95**2 / trials
    middle = (share + Z_95**2 / (2 * trials)) / divisor
    half = Z_95 / divisor * math.sqrt(share * (1 - share) / trials + Z_95**2 / (4 * trials**2))
    return max(0.0, middle - half), min(1.0, middle + half)
