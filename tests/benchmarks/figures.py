"""One figure: the measured value, the floor or peer of the same run, and the target."""

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

Of = Literal["value", "ratio", "added"]

_SIGNS: Final = {"value": "", "ratio": "x", "added": "+"}


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on the value, on its ratio to the floor, or on its difference from the floor."""

    of: Of
    at_most: float | None = None
    at_least: float | None = None

    def holds(self, number: float) -> bool:
        """Whether a number is within the bound."""
        if self.at_most is not None and number > self.at_most:
            return False
        return self.at_least is None or number >= self.at_least

    def __str__(self) -> str:
        bound = f"<= {self.at_most:g}" if self.at_most is not None else f">= {self.at_least:g}"
        return f"{self.of} {bound}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value. `floor` names the floor or peer, if there is one."""

    what: str
    value: float
    unit: str
    floor: str = ""
    floor_value: float | None = None
    target: Target | None = None

    @property
    def ratio(self) -> float | None:
        """The value divided by the floor's value."""
        return self.value / self.floor_value if self.floor_value else None

    @property
    def judged(self) -> float | None:
        """The number that the target applies to."""
        if self.target is None:
            return None
        if self.target.of == "value":
            return self.value
        if self.target.of == "ratio":
            return self.ratio
        return self.value - (self.floor_value or 0.0)

    @property
    def met(self) -> bool | None:
        """Whether the target is met, or None if there is no target."""
        if self.target is None or self.judged is None:
            return None
        return self.target.holds(self.judged)

    def as_json(self) -> dict[str, Any]:
        """Returns the figure with its derived values."""
        return asdict(self) | {
            "ratio": None if self.ratio is None else round(self.ratio, 3),
            "judged": None if self.judged is None else round(self.judged, 3),
            "target": None if self.target is None else str(self.target),
            "met": self.met,
        }


def figure_of(data: dict[str, Any]) -> tuple[str, ...]:
    """Returns a figure's row in a table, from its JSON."""
    met = {None: "", True: "met", False: "**not met**"}[data["met"]]
    floor = "" if data["floor_value"] is None else f"{data['floor']}: {number(data['floor_value'])}"
    ratio = "" if data["ratio"] is None else f"{data['ratio']:.2f}"
    return (
        data["what"], f"{number(data['value'])} {data['unit']}".strip(), floor, ratio,
        data["target"] or "", met,
    )  # fmt: skip


def number(value: float) -> str:
    """Formats a number with three significant digits."""
    if value and abs(value) < 100:
        return f"{value:.3g}"
    return f"{value:,.0f}"


COLUMNS: Final = ("figure", "threadwax", "floor or peer", "ratio", "target", "")


def percentile(values: Iterable[float], share: float) -> float:
    """Returns the value below which `share` of the values lie."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def median_ms(seconds: Iterable[float]) -> float:
    """Returns the median in milliseconds."""
    return statistics.median(seconds) * 1e3
