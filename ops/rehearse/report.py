"""The report of a rehearsal as a value, for the JSON file and the page. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from ops.rehearse.figures import Judgements, Side, judgements_of, side_of
from ops.rehearse.judging import Judgement, judgement_of
from ops.rehearse.pair import Pair
from ops.rehearse.results_file import Choice, Judged, Results

SCHEMA_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """A pair with its judgement; None: it was not judged."""

    pair: Pair
    judged: Judged | None
    judgement: Judgement | None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the page shows. `ended` says in a sentence why the rehearsal ended."""

    choice: Choice
    made_at: str
    ended: str
    old: Side
    new: Side
    judgements: Judgements | None
    judge_microdollars: int
    complete: int
    left_out: dict[str, int]
    entries: tuple[Entry, ...]

    def as_json(self) -> dict[str, Any]:
        """The report for scripts: everything but the identities of people."""
        choice = asdict(self.choice)
        choice["chosen"] = len(self.choice.chosen)
        return {
            "schema_version": SCHEMA_VERSION,
            "made_at": self.made_at,
            "ended": self.ended,
            "comparison": choice,
            "old": asdict(self.old),
            "new": asdict(self.new),
            "judgements": asdict(self.judgements) if self.judgements else None,
            "judge_microdollars": self.judge_microdollars,
            "requests_complete": self.complete,
            "left_out": self.left_out,
            "pairs": [_entry(entry) for entry in self.entries],
        }


def report_of(choice: Choice, results: Results, *, made_at: str, ended: str) -> Report:
    """The report about what is finished, in the order in which people asked."""
    order = [chosen.prompt_id for chosen in choice.chosen]
    pairs = [results.pairs[prompt_id] for prompt_id in order if prompt_id in results.pairs]
    entries = tuple(_judged(pair, results.judged.get(pair.prompt_id)) for pair in pairs)
    judged = [entry.judged for entry in entries if entry.judged is not None]
    return Report(
        choice=choice,
        made_at=made_at,
        ended=ended,
        old=side_of([pair.old for pair in pairs]),
        new=side_of([pair.new for pair in pairs]),
        judgements=_judgements(judged) if choice.judge else None,
        judge_microdollars=sum(one.cost_microdollars or 0 for one in judged),
        complete=sum(pair.complete for pair in pairs),
        left_out=dict(sorted(Counter(s.why for s in results.left_out.values()).items())),
        entries=entries,
    )


def _judgements(judged: Sequence[Judged]) -> Judgements:
    return judgements_of((one.first, one.second) for one in judged)


def _judged(pair: Pair, judged: Judged | None) -> Entry:
    judgement = None if judged is None else judgement_of(judged.first, judged.second)
    return Entry(pair, judged, judgement)


def _entry(entry: Entry) -> dict[str, Any]:
    pair = entry.pair
    old, new = (asdict(answer) for answer in (pair.old, pair.new))
    for side, answer in ((old, pair.old), (new, pair.new)):
        side["usage"] = answer.usage.model_dump() if answer.usage else None
    verdicts = None if entry.judged is None else [entry.judged.first, entry.judged.second]
    return {
        "prompt_id": pair.prompt_id, "place": pair.place, "question": pair.question,
        "messages": pair.messages, "complete": pair.complete, "old": old, "new": new,
        "judgement": entry.judgement, "verdicts": verdicts,
    }  # fmt: skip
