"""The options, the loop and the results shared by the commands that run campaigns.

No violation is ever hidden: each one is printed, written to the results, and makes the exit code 1.
"""

import argparse
import json
import logging
import secrets
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from tests.chaos.campaign import Outcome


def say(text: str) -> None:
    """Prints a line and flushes it, because somebody watches a run that takes minutes."""
    print(text, flush=True)  # noqa: T201  (it is a command)


def parser_of(prog: str, description: str, *, rounds: int, size: int) -> argparse.ArgumentParser:
    """Returns a parser with the options of every such command. `size`: rounds per campaign."""
    parser = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, help="default: drawn at random and printed")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"in total (default: {rounds})")
    parser.add_argument("--campaign", type=int, help="run only this campaign, counted from 0")
    parser.add_argument(
        "--campaign-rounds", type=int, default=size, metavar="N",
        help=f"rounds per campaign (default: {size})",
    )  # fmt: skip
    return parser


def options_of(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parses the options, and draws a seed if none is given."""
    options = parser.parse_args()
    options.seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    return options


def campaigns_of(options: argparse.Namespace) -> list[tuple[int, int]]:
    """Returns the number and the rounds of each campaign."""
    size = options.campaign_rounds
    if options.campaign is not None:
        return [(options.campaign, size)]
    starts = range(0, options.rounds, size)
    return [(start // size, min(size, options.rounds - start)) for start in starts]


@dataclass
class Total:
    """All campaigns so far, written after each one, so that an interrupted run keeps its counts."""

    seed: int
    results: Path
    rounds: int = 0
    took_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    violated: list[Outcome] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)

    @property
    def path(self) -> Path:
        """The file with the counts."""
        return self.results / f"{self.seed}.json"

    def add(self, outcome: Outcome) -> None:
        """Adds a campaign and writes the file."""
        self.rounds += outcome.rounds
        self.took_s += outcome.took_s
        self.counts += outcome.counts
        self.left_out |= outcome.left_out
        if outcome.violations:
            self.violated.append(outcome)
        self._write()

    def _write(self) -> None:
        result = {
            "seed": self.seed, "rounds": self.rounds, "took_s": round(self.took_s, 1),
            "s_a_round": round(self.took_s / max(self.rounds, 1), 2),
            "left_out": sorted(self.left_out), "counts": dict(sorted(self.counts.items())),
            "violated": [
                {"campaign": o.campaign, "round": o.failed_round, "violations": o.violations}
                for o in self.violated
            ],
        }  # fmt: skip
        self.results.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(result, indent=2) + "\n")

    def print(self) -> None:
        """Prints the counts."""
        for name, count in sorted(self.counts.items()):
            say(f"  {count:6} {name}")
        if self.left_out:
            left_out = ", ".join(sorted(self.left_out))
            say(f"LEFT OUT, because it is impossible on this machine: {left_out}")
        say(f"seed {self.seed}: {self.rounds} rounds in {self.took_s:.0f} s, "
            f"{len(self.violated)} campaigns violated; {self.path}")  # fmt: skip


def report_violations(
    outcome: Outcome, seed: int, *, before: Callable[[int], list[str]], again: str
) -> None:
    """Prints the violations, the plan `before` them, and the command to run the campaign again."""
    at = outcome.failed_round
    where = "the last questions or the logs" if at is None else f"round {at}"
    say(f"\nVIOLATED: seed {seed}, campaign {outcome.campaign}, {where}")
    for line in [] if at is None else before(at):
        say(f"  {line}")
    for violation in outcome.violations[:30]:
        say(f"  - {violation}")
    say(f"run it again: {again}")


def keep_logs(home: Path, results: Path, outcome: Outcome, seed: int) -> None:
    """Copies the logs of a campaign with violations, because its folder is removed."""
    logs = results / f"{seed}-campaign-{outcome.campaign}-logs"
    shutil.rmtree(logs, ignore_errors=True)
    shutil.copytree(home / "logs", logs)
    say(f"logs: {logs}")


def run_all(options: argparse.Namespace, results: Path, run: Callable[[int, int], Outcome]) -> int:
    """Runs the campaigns; returns the exit code, 1 if a rule was violated."""
    # Signals must also end the child processes.
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)  # it would log each broken connection
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    total = Total(options.seed, results)
    for number, rounds in campaigns_of(options):
        outcome = run(number, rounds)
        total.add(outcome)
        state = f"{len(outcome.violations)} VIOLATIONS" if outcome.violations else "ok"
        say(f"seed {options.seed} campaign {number}: {outcome.rounds} rounds, "
            f"{outcome.took_s:.0f} s, {state}")  # fmt: skip
    total.print()
    return 1 if total.violated else 0
