"""Draws the chart of `docs/benchmarks.md` as an SVG from the JSON results."""

import json
import re
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

OURS, PEERS, TUTORIAL, MISSED = "#1f6f8b", "#9aa5ab", "#c8553d", "#c8553d"
IDEAL_S: Final = 1.0

AT_ONCE: Final = re.compile(r"(\d+) at once, 1 s model, last answered$")
TUTORIALS: Final = re.compile(r"the tutorial's design, (\d+) at once, last answered$")

Rows = list[dict[str, Any]]


def draw(result: Path, chart: Path) -> None:
    """Draws one result. Missing figures are left out."""
    rows: Rows = [
        row for rows in json.loads(result.read_text())["figures"].values() for row in rows
    ]
    mpl.rcParams |= {
        "svg.hashsalt": "threadwax", "svg.fonttype": "none", "font.size": 9,
        "axes.spines.top": False, "axes.spines.right": False,
    }  # fmt: skip
    judged = [row for row in rows if row["met"] is not None]
    canvas = Canvas(figsize=(9, 3.2 + 0.22 * len(judged)), layout="constrained")
    above, below = canvas.subplots(2, 1, height_ratios=[3, 0.25 * len(judged) + 0.5])
    _crowds(above, rows)
    _targets(below, judged)
    canvas.savefig(chart, format="svg", metadata={"Date": None})


def _crowds(axes: Axes, rows: Rows) -> None:
    """Plots the seconds until the last user has an answer, by number of users."""
    ours = _by_users(rows, AT_ONCE, "value")
    lines = (
        ("threadwax", ours, OURS, "-"),
        ("the model server alone", _by_users(rows, AT_ONCE, "floor_value"), PEERS, "-"),
        ("a model call inside the step", _by_users(rows, TUTORIALS, "value"), TUTORIAL, "-"),
        ("ideal", [(users, IDEAL_S) for users, _ in ours], PEERS, ":"),
    )
    for label, points, color, style in lines:
        if points:
            axes.plot(*zip(*points, strict=True), style, marker="o", ms=3, color=color, label=label)
    axes.set(
        xscale="log", yscale="log", xlabel="users at once", ylabel="last answered, s",
        title="A model that takes 1 s",
    )  # fmt: skip
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))


def _by_users(rows: Rows, what: re.Pattern[str], key: str) -> list[tuple[int, float]]:
    found = [(match, row) for row in rows if (match := what.match(row["what"]))]
    return sorted((int(match[1]), row[key]) for match, row in found)


def _targets(axes: Axes, judged: Rows) -> None:
    """Plots how far each figure is from its target. Bars left of the line meet it."""
    shares = []
    for row in judged:
        _, sign, bound = row["target"].split()
        share = row["judged"] / float(bound)
        shares.append(share if sign == "<=" else 1 / max(share, 0.01))
    names = [row["what"] for row in judged]
    colors = [OURS if row["met"] else MISSED for row in judged]
    axes.barh(names, shares, color=colors, height=0.6)
    axes.axvline(1, color="black", lw=0.8)
    axes.invert_yaxis()
    axes.set(title="Each figure as a share of its target (1: just met)", xlim=(0, 3))
