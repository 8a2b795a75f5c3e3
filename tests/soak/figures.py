"""Computes the figures of a soak from its samples: growth counts in the second half. Pure."""

import statistics
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

from tests.benchmarks.figures import Figure, Target

SETTLE_S: Final = 300.0
"""A process that fills its caches after a start is not growing: this time is left out."""

FLAT_MB_AN_HOUR: Final = 3.0
FEW_FILES: Final = 5
FEW_THREADS: Final = 2
"""nats-server's Go runtime adds one now and then."""

Points = list[tuple[float, float]]


def figures(result: dict[str, Any]) -> list[Figure]:
    """Returns the figures of a run."""
    samples = result["samples"]
    return [*_answers(result), *_memory(samples, result["minutes"]),
            *_open_files(result["open_files"]), *_files(samples),
            *_processor(samples)]  # fmt: skip


def _answers(result: dict[str, Any]) -> list[Figure]:
    none = Target("value", at_most=0)
    sent, outcomes = result["sent"], result["outcomes"]
    return [
        Figure("messages to the bot", sent, ""),
        Figure("messages per second", sent / result["minutes"] / 60, "/s"),
        *(Figure(f"messages {outcome}", count, "") for outcome, count in outcomes.items()),
        Figure("answers that are missing, duplicate, misplaced or incomplete",
               len(result["wrong"]), "", target=none),
        Figure("messages minus journaled replies", abs(sent - result["replies"]), "",
               target=none),
        Figure("replies minus recorded answers", abs(result["replies"] - result["recorded"]), "",
               target=none),
        Figure("dead letters", result["dead_letters"], "", target=none),
        Figure("processes that ended by themselves or with an error", len(result["defects"]), "",
               target=none),
    ]  # fmt: skip


def _second_half(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    half = samples[-1]["minute"] / 2
    return [sample for sample in samples if sample["minute"] >= half]


def _memory(samples: list[dict[str, Any]], minutes: int) -> list[Figure]:
    found = []
    settle_s = min(SETTLE_S, minutes * 5)
    for name in samples[-1]["processes"]:
        lives: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
        for sample in _second_half(samples):
            process = sample["processes"].get(name)
            if process is not None and process["life_s"] >= settle_s:
                lives[process["pid"]].append(process | sample)
        series = list(lives.values())
        by_time = [[(s["minute"] / 60, s["rss_mb"]) for s in life] for life in series]
        by_answers = [[(s["answered"], s["rss_mb"] * 2**20) for s in life] for life in series]
        found.append(Figure(f"{name}, memory at the end", series[-1][-1]["rss_mb"], "MB"))
        if (slope := _slope(by_time)) is not None:
            flat = Target("value", at_most=FLAT_MB_AN_HOUR)
            found.append(Figure(f"{name}, memory growth", slope, "MB per hour", target=flat))
            found.append(
                Figure(f"{name}, memory growth", _slope(by_answers) or 0.0, "bytes per message")
            )
        memory = [s["rss_mb"] for life in series for s in life]
        files = [s["fds"] for life in series for s in life]
        threads = [s["threads"] for life in series for s in life]
        middle = len(files) // 2
        if middle:
            found.append(
                Figure(
                    f"{name}, highest memory, last quarter", max(memory[middle:]), "MB",
                    "third quarter", max(memory[:middle]),
                )
            )  # fmt: skip
            found.append(
                Figure(
                    f"{name}, open files, last quarter", statistics.median(files[middle:]), "",
                    "third quarter", statistics.median(files[:middle]),
                )
            )  # fmt: skip
            found.append(
                Figure(
                    f"{name}, threads, last quarter", max(threads[middle:]), "",
                    "third quarter", max(threads[:middle]),
                    Target("added", at_most=FEW_THREADS),
                )
            )  # fmt: skip
    in_memory = [s["in_memory"] for s in _second_half(samples) if s["in_memory"] is not None]
    found.append(Figure("conversations in memory, median", statistics.median(in_memory), ""))
    found.append(Figure("people in total", samples[-1]["people"], ""))
    return found


def _open_files(quiet: dict[str, dict[str, float]]) -> list[Figure]:
    """Compares open files when idle: connection pools are empty then, so a surplus is a leak."""
    few = Target("added", at_most=FEW_FILES)
    before = "before the first message"
    return [
        Figure(f"{name}, open files, idle at the end", after, "", before,
               quiet["before"][name], few)
        for name, after in quiet["after"].items()
    ]  # fmt: skip


def _files(samples: list[dict[str, Any]]) -> list[Figure]:
    found = []
    second = _second_half(samples)
    for part in sorted(samples[-1]["files"]):
        points = [(s["answered"], s["files"].get(part, 0)) for s in second]
        found.append(Figure(f"{part}, size at the end", points[-1][1] / 2**20, "MB"))
        slope = _slope([points])
        if slope is not None:
            found.append(Figure(f"{part}, growth", slope, "bytes per message"))
            found.append(
                Figure(
                    f"{part}, largest distance from a straight line", _largest_distance(points), "%"
                )
            )
    return found


def _processor(samples: list[dict[str, Any]]) -> list[Figure]:
    last = samples[-1]
    found = []
    for name, process in last["processes"].items():
        share = process["cpu_s"] / last["minute"] / 60 * 100
        found.append(Figure(f"{name}, processor", share, "% of a core"))
        each = process["cpu_s"] / last["answered"] * 1e3
        found.append(Figure(f"{name}, processor", each, "ms per message"))
    return found


def _slope(series: Iterable[Points]) -> float | None:
    """Returns the common slope of all series by least squares; each series has its own offset."""
    across = along = 0.0
    for points in series:
        middle_x = statistics.fmean(x for x, _ in points)
        middle_y = statistics.fmean(y for _, y in points)
        across += sum((x - middle_x) * (y - middle_y) for x, y in points)
        along += sum((x - middle_x) ** 2 for x, _ in points)
    return across / along if along else None


def _largest_distance(points: Points) -> float:
    """Returns the largest distance from the regression line, in percent of the last value."""
    line = statistics.linear_regression([x for x, _ in points], [y for _, y in points])
    last = points[-1][1] or 1
    return max(abs(line.intercept + line.slope * x - y) for x, y in points) / last * 100
