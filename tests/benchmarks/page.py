"""Writes two runs into `docs/benchmarks.md`, between its two marks, and draws its chart.

Run as `python -m tests.benchmarks.page RUN1.json RUN2.json`. Sections that the runs did not measure
stay unchanged. If there are any, so does the chart.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.chart import draw
from tests.benchmarks.figures import number

PAGE: Final = Path("docs/benchmarks.md")
CHART: Final = Path("docs/benchmarks.svg")
BEGIN: Final = "<!-- figures: written by tests/benchmarks/page.py -->"
END: Final = "<!-- end of figures -->"
SECTION: Final = "### "
HEAD: Final = ("figure", "run 1", "run 2", "compared with", "ratios", "target", "met")


def main(first: Path, second: Path) -> None:
    one, two = (json.loads(path.read_text()) for path in (first, second))
    before, rest = PAGE.read_text().split(BEGIN)
    old, after = rest.split(END)
    sections = {text.partition("\n")[0]: text for text in old.split(SECTION)[1:]}
    measured = {_title(subject): _section(subject, one, two) for subject in one["figures"]}
    sections |= measured
    tables = "".join(f"{SECTION}{text}" for text in sections.values())
    PAGE.write_text(f"{before}{BEGIN}\n\n{tables}{END}{after}")
    if measured.keys() == sections.keys():
        draw(first, CHART)


def _title(subject: str) -> str:
    return subject.replace("_", " ").capitalize()


def _section(subject: str, one: dict[str, Any], two: dict[str, Any]) -> str:
    others = {row["what"]: row for row in two["figures"].get(subject, [])}
    lines = [_line(row, others.get(row["what"])) for row in one["figures"][subject]]
    table = "\n".join(f"| {' | '.join(row)} |" for row in [HEAD, ("---",) * len(HEAD), *lines])
    commits = dict.fromkeys((one["commit"], two["commit"]))
    runs = (
        f"Run 1: {one['at']}, run 2: {two['at']}; commit {', then '.join(commits)}; "
        f"Python {one['python']}, {one['cores']} cores."
    )
    return f"{_title(subject)}\n\n{runs}\n\n{table}\n\n"


def _line(one: dict[str, Any], two: dict[str, Any] | None) -> tuple[str, ...]:
    both = [one] if two is None else [one, two]
    floors = [number(row["floor_value"]) for row in both if row["floor_value"] is not None]
    ratios = [f"{row['ratio']:.2f}" for row in both if row["ratio"] is not None]
    met = {None: "", True: "met", False: "**not met**"}
    return (
        one["what"],
        _value(one),
        _value(two) if two else "",
        f"{one['floor']}: {', '.join(floors)}" if floors else "",
        ", ".join(ratios),
        one["target"] or "",
        ", then ".join(dict.fromkeys(met[row["met"]] for row in both)),
    )


def _value(row: dict[str, Any]) -> str:
    return f"{number(row['value'])} {row['unit']}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
