"""What a soak's samples say: growth in its second half. Pure."""

import statistics
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

from tests.benchmarks.figures import Figure, Target

SETTLE_S: Final = 300.0
"""After a start a process loads and fills what it keeps; that is no growth."""

FLAT_MB_AN_HOUR: Final = 3.0
FEW_FILES: Final = 5

Points = list[tuple[float, float]]


def figures(result: dict[str, Any]) -> list[Figure]:
    """The figures of a whole run."""
    samples = result["samples"]
    return [*_answers(result), *_memory(samples, result["minutes"]),
            *_open_files(result["open_files"]), *_files(samples),
            *_processor(samples)]  # fmt: skip


def _answers(result: dict[str, Any]) -> list[Figure]:
    none = Target("value", at_most=0)
    sent, outcomes = result["sent"], result["outcomes"]
    return [
        Figure("messages to the bot", sent, ""),
        Figure("messages a second", sent / result["minutes"] / 60, "/s"),
        *(Figure(f"messages {outcome}", count, "") for outcome, count in outcomes.items()),
        Figure("without an answer, with a second one, with another's or half of one",
               len(result["wrong"]), "", target=none),
        Figure("messages less replies in the journal", abs(sent - result["replies"]), "",
               target=none),
        Figure("dead letters", result["dead_letters"], "", target=none),
        Figure("processes that ended by themselves, or badly", len(result["defects"]), "",
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
            found.append(Figure(f"{name}, memory grows", slope, "MB an hour", target=flat))
            found.append(
                Figure(f"{name}, memory grows", _slope(by_answers) or 0.0, "bytes a message")
            )
        memory = [s["rss_mb"] for life in series for s in life]
        files = [s["fds"] for life in series for s in life]
        middle = len(files) // 2
        if middle:
            found.append(
                Figure(
                    f"{name}, memory at most, last quarter", max(memory[middle:]), "MB",
                    "third quarter", max(memory[:middle]),
                )
            )  # fmt: skip
            found.append(
                Figure(
                    f"{name}, open files, last quarter", statistics.median(files[middle:]), "",
                    "third quarter", statistics.median(files[:middle]),
                )
            )  # fmt: skip
    in_memory = [s["in_memory"] for s in _second_half(samples) if s["in_memory"] is not None]
    found.append(Figure("conversations in memory, median", statistics.median(in_memory), ""))
    found.append(Figure("people in all", samples[-1]["people"], ""))
    return found


def _open_files(quiet: dict[str, dict[str, float]]) -> list[Figure]:
    """Where nobody asks, pools of connections are empty: what is still open then is a leak."""
    few = Target("added", at_most=FEW_FILES)
    before = "before the first message"
    return [
        Figure(f"{name}, open files, in the quiet at the end", after, "", before,
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
            found.append(Figure(f"{part}, grows", slope, "bytes a message"))
            found.append(Figure(f"{part}, off a straight line at most", _off(points), "%"))
    return found


def _processor(samples: list[dict[str, Any]]) -> list[Figure]:
    last = samples[-1]
    found = []
    for name, process in last["processes"].items():
        share = process["cpu_s"] / last["minute"] / 60 * 100
        found.append(Figure(f"{name}, processor", share, "% of a core"))
        each = process["cpu_s"] / last["answered"] * 1e3
        found.append(Figure(f"{name}, processor", each, "ms a message"))
    return found


def _slope(series: Iterable[Points]) -> float | None:
    """Growth by least squares, the same in each series, each from a level of its own."""
    across = along = 0.0
    for points in series:
        middle_x = statistics.fmean(x for x, _ in points)
        middle_y = statistics.fmean(y for _, y in points)
        across += sum((x - middle_x) * (y - middle_y) for x, y in points)
        along += sum((x - middle_x) ** 2 for x, _ in points)
    return across / along if along else None


def _off(points: Points) -> float:
    """The largest distance from the straight line through these points, in percent of the last."""
    line = statistics.linear_regression([x for x, _ in points], [y for _, y in points])
    last = points[-1][1] or 1
    return max(abs(line.intercept + line.slope * x - y) for x, y in points) / last * 100
