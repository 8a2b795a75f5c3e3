"""Writes a soak's figures into `docs/soak.md`, below its mark.

Run as `python -m tests.soak.page build/benchmarks/soak-....json`.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.figures import figure_of, number
from tests.soak.figures import figures

PAGE: Final = Path("docs/soak.md")
MARK: Final = "<!-- figures: written by tests/soak/page.py -->"
COLUMNS: Final = ("figure", "value", "compared with", "", "target", "met")
EVERY_MIN: Final = 10


def main(run: Path) -> None:
    result = json.loads(run.read_text())
    before, _, _ = PAGE.read_text().partition(MARK)
    restarts = ", ".join(
        f"{r['name']} at {r['minute']:g} min ({r['took_s']:.1f} s)" for r in result["restarts"]
    )
    faults = ", ".join(f"{name}: {count}" for name, count in result["model"].items())
    loads = [sample["load"] for sample in result["samples"]]
    head = (
        f"## Figures\n\nMeasured at {result['at']}, {result['minutes']:g} minutes, "
        f"seed {result['seed']}, Python {result['python']}, {result['cores']} cores; machine load "
        f"{min(loads):.1f} to {max(loads):.1f}.\nRestarted: {restarts}.\nThe model: {faults}.\n"
    )
    text = [
        head,
        _table(COLUMNS, [figure_of(figure.as_json()) for figure in figures(result)]),
        "### Minute by minute\n",
        _minutes(result["samples"]),
    ]
    PAGE.write_text(f"{before}{MARK}\n\n" + "\n".join(text))


def _minutes(samples: list[dict[str, Any]]) -> str:
    names = list(samples[-1]["processes"])
    head = ("minute", "answered", *(f"{name}, MB" for name in names), "in memory", "files, MB")
    rows = [
        (
            f"{sample['minute']:.0f}", number(sample["answered"]),
            *(number(sample["processes"].get(name, {}).get("rss_mb", 0.0)) for name in names),
            str(sample["in_memory"] or ""), number(sum(sample["files"].values()) / 2**20),
        )
        for sample in samples
        if round(sample["minute"]) % EVERY_MIN == 0 or sample is samples[0]
    ]  # fmt: skip
    return _table(head, rows)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
