"""The folder of a rehearsal: what was chosen, and every finished pair.

Each result is on the disk before the next one begins, so a rehearsal can be killed at any moment
and continued. A line that a crash left unfinished must never be trusted.
"""

import contextlib
import hashlib
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from ops.rehearse.errors import WrongUsage
from ops.rehearse.judging import Verdict
from ops.rehearse.pair import Pair
from ops.rehearse.rebuild import Skipped
from ops.rehearse.streams import Chosen
from shared.private_file import make_folder, private_file, private_text, sync_folder

CHOICE_FILE: Final = "choice.json"
RESULTS_FILE: Final = "results.jsonl"
PAGE_FILE: Final = "report.html"
REPORT_FILE: Final = "report.json"


@dataclass(frozen=True, slots=True)
class Choice:
    """What a rehearsal compares, and which questions it asks. Written once, when it begins."""

    began_at: str
    model: str
    address: str
    prompt_sha256: str
    judge: str
    judge_address: str
    last: int
    chosen: tuple[Chosen, ...]
    v: Literal[1] = 1

    def is_same_comparison(self, other: "Choice") -> bool:
        """Whether the other one comes from the same command line."""
        names = ("model", "address", "prompt_sha256", "judge", "judge_address", "last")
        return all(getattr(self, name) == getattr(other, name) for name in names)


@dataclass(frozen=True, slots=True)
class Asked:
    """The candidate has answered."""

    pair: Pair
    kind: Literal["asked"] = "asked"


@dataclass(frozen=True, slots=True)
class Judged:
    """The judge has seen both orders. `asked`: how many calls that took."""

    prompt_id: str
    first: Verdict
    second: Verdict
    asked: int
    cost_microdollars: int | None
    kind: Literal["judged"] = "judged"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The question is not asked again."""

    skipped: Skipped
    kind: Literal["left out"] = "left out"


Result = Asked | Judged | LeftOut

_CHOICE: Final = TypeAdapter(Choice)
_RESULT: TypeAdapter[Result] = TypeAdapter(Annotated[Result, Field(discriminator="kind")])


@dataclass(slots=True)
class Results:
    """Everything that is finished, by question."""

    pairs: dict[str, Pair] = field(default_factory=dict)
    judged: dict[str, Judged] = field(default_factory=dict)
    left_out: dict[str, Skipped] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        """Adds one result."""
        match result:
            case Asked():
                self.pairs[result.pair.prompt_id] = result.pair
            case Judged():
                self.judged[result.prompt_id] = result
            case LeftOut():
                self.left_out[result.skipped.prompt_id] = result.skipped

    def drop_people(self, users: Collection[str]) -> None:
        """Leaves out people who have decided so since."""
        for pair in [pair for pair in self.pairs.values() if pair.user in users]:
            del self.pairs[pair.prompt_id]
            self.judged.pop(pair.prompt_id, None)
            self.left_out[pair.prompt_id] = Skipped(pair.prompt_id, "the person opted out")

    @property
    def spent_microdollars(self) -> int:
        """The known cost of all calls."""
        costs = [pair.new.cost_microdollars for pair in self.pairs.values()]
        costs += [judged.cost_microdollars for judged in self.judged.values()]
        return sum(cost or 0 for cost in costs)


def choice_in(folder: Path) -> Choice | None:
    """What the rehearsal in this folder compares; None if there is none yet."""
    text = private_text(folder / CHOICE_FILE)
    if text is None:
        return None
    try:
        return _CHOICE.validate_json(text)
    except ValidationError:
        raise WrongUsage(
            f"this version cannot read {folder / CHOICE_FILE}: choose another folder with --out"
        ) from None


def write_choice(folder: Path, choice: Choice) -> None:
    """Stores the choice durably."""
    private_file(folder / CHOICE_FILE, _CHOICE.dump_json(choice, indent=1).decode())


class ResultsFile:
    """The finished results, one JSON object per line. Close it after use."""

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self._path = folder / RESULTS_FILE
        self.results = Results()
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        os.lseek(self._descriptor, self._read(), os.SEEK_SET)
        sync_folder(folder)

    def _read(self) -> int:
        """Reads all whole lines, cuts off an unfinished one, and returns the length."""
        data = self._path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        os.ftruncate(self._descriptor, len(whole))
        for line in whole.splitlines():
            with contextlib.suppress(ValidationError):  # of a newer version: it is asked again
                self.results.add(_RESULT.validate_json(line))
        return len(whole)

    def add(self, result: Result) -> None:
        """Adds a result; returns when it would survive a power cut."""
        self.results.add(result)
        line = _RESULT.dump_json(result) + b"\n"
        while line:
            line = line[os.write(self._descriptor, line) :]
        os.fsync(self._descriptor)

    def drop_people(self, users: Collection[str]) -> None:
        """Removes the words of people who have opted out since, also from the file."""
        if not any(pair.user in users for pair in self.results.pairs.values()):
            return
        self.results.drop_people(users)
        results = self.results
        kept: list[Result] = [Asked(pair) for pair in results.pairs.values()]
        kept += results.judged.values()
        kept += [LeftOut(skipped) for skipped in results.left_out.values()]
        text = b"".join(_RESULT.dump_json(result) + b"\n" for result in kept).decode()
        os.close(self._descriptor)
        private_file(self._path, text)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND)

    @property
    def sha256(self) -> str:
        """The hash of the file."""
        return hashlib.sha256(self._path.read_bytes()).hexdigest()

    def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)
