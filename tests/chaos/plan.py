"""Draws from the seed what happens in each round: what people do, and which faults are injected.

Pure, so a plan can be printed without running it. An act that refers to an earlier one (to its
thread or its answer) names it by number, so nothing here depends on a run.
"""

import random
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, Literal

from tests.chaos.fault_plan import PlannedFault, drawn_faults

What = Literal["ask", "chatter", "edit", "delete", "stop", "reset", "again"]

TALK_S: Final = 1.2
"""Acts and faults of a round begin within this time."""

ACTS: Final = (6, 12)
LATE_S: Final = 1.0
"""The longest delay of an event. Delayed events arrive after newer ones."""

PEOPLE: Final = {
    "slack": ("UADA", "UBOB", "UCARL"),
    "discord": ("ada", "bob", "eve"),
    "gateway": ("gus", "gil"),
    "web": ("wen", "wim"),
}
HUSHED: Final = ("ada", "bob")
"""Members of the private thread `hush` on Discord."""

FILES: Final = ("cat.png", "notes.txt")
"""A small picture and a small text. Large files are measured elsewhere."""

ROOTS: Final[dict[str, dict[str, float]]] = {
    "slack": {"room": 40, "direct": 30, "secret": 12, "group": 6, "command": 12},
    "discord": {"room": 42, "direct": 28, "secret": 8, "hush": 8, "command": 14},
    "gateway": {"direct": 1},
    "web": {"direct": 1},
}
"""Where people start a conversation, with weights."""

HABITS: Final[dict[str, dict[str, float]]] = {
    "slack": {"ask": 46, "follow": 22, "join": 5, "chatter": 5, "edit": 7, "delete": 3, "stop": 5,
              "reset": 4, "again": 3},
    "discord": {"ask": 50, "follow": 20, "edit": 8, "delete": 5, "stop": 6, "reset": 5, "again": 6},
    "gateway": {"ask": 1},
    "web": {"ask": 45, "follow": 35, "stop": 10, "again": 10},
}  # fmt: skip
"""What people do on each platform, with weights."""


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that one person does. `target`: the act whose thread or message it refers to."""

    number: int
    at_s: float
    platform: str
    who: str
    what: What
    where: str = ""
    target: int | None = None
    how: str = ""
    late_s: float = 0.0
    repeats: int = 0
    long: bool = False
    file: str = ""
    """The name of the attached file, or ""."""

    @property
    def marker(self) -> str:
        """The word that identifies this act's text wherever it appears."""
        return f"m{self.number}x"

    def __str__(self) -> str:
        extras = [
            f"in {self.where}" if self.where else "",
            f"about {self.target}" if self.target is not None else "",
            self.how,
            f"delivered {self.late_s:.1f} s late" if self.late_s else "",
            f"delivered {self.repeats + 1} times" if self.repeats else "",
            "long" if self.long else "",
            f"with {self.file}" if self.file else "",
        ]
        words = ", ".join(extra for extra in extras if extra)
        return f"{self.at_s:5.2f} s  #{self.number} {self.platform} {self.who}: {self.what} {words}"


@dataclass(frozen=True, slots=True)
class Round:
    """The acts and the faults of one round, each ordered by time."""

    number: int
    acts: tuple[Act, ...]
    faults: tuple[PlannedFault, ...]

    def __str__(self) -> str:
        lines = [f"round {self.number}", *map(str, (*self.acts, *self.faults))]
        return "\n  ".join(lines)


@dataclass
class _Drawing:
    """The acts drawn so far, to which later ones can refer."""

    rng: random.Random
    earlier: list[Act] = field(default_factory=list)
    now: list[Act] = field(default_factory=list)
    next_number: int = 1

    def add(self, act: Act) -> None:
        self.now.append(act)
        self.next_number += 1

    def chosen(self, acts: list[Act]) -> Act | None:
        return self.rng.choice(acts) if acts else None


def campaign_plan(
    seed: int, campaign: int, rounds: int, *, faults: Collection[str] | None = None
) -> list[Round]:
    """Draws the rounds of one campaign. `faults`: the kinds that can be drawn (None: all)."""
    drawing = _Drawing(random.Random())
    plan = []
    for number in range(rounds):
        drawing.rng = rng = random.Random(f"{seed}-{campaign}-{number}")
        for at_s in sorted(rng.uniform(0, TALK_S) for _ in range(rng.randint(*ACTS))):
            _draw_act(drawing, at_s)
        plan.append(
            Round(number, tuple(drawing.now), tuple(drawn_faults(rng, TALK_S, only=faults)))
        )
        drawing.earlier += drawing.now
        drawing.now = []
    return plan


def _weighted(rng: random.Random, weights: dict[str, float]) -> str:
    return rng.choices(list(weights), list(weights.values()))[0]


def _draw_act(drawing: _Drawing, at_s: float) -> None:
    rng = drawing.rng
    platform = _weighted(rng, {"slack": 42, "discord": 38, "gateway": 20, "web": 25})
    who = rng.choice(PEOPLE[platform])
    habit = _weighted(rng, HABITS[platform])
    late_s = rng.uniform(0.1, LATE_S) if rng.random() < 0.12 else 0.0
    repeats = rng.randint(1, 3) if rng.random() < 0.15 else 0
    long = rng.random() < 0.1
    file = rng.choice(FILES) if rng.random() < 0.12 else ""
    number = drawing.next_number
    act = _about_another(drawing, habit, Act(number, at_s, platform, who, "ask"))
    if act is None:
        where = _weighted(rng, ROOTS[platform])
        where = "room" if where == "hush" and who not in HUSHED else where
        act = Act(number, at_s, platform, who, "ask", where)
    if act.what in {"ask", "chatter"}:
        act = Act(
            number, at_s, platform, who, act.what, act.where, act.target, act.how,
            late_s=late_s if platform == "slack" else 0.0,
            repeats=repeats if platform != "web" else 0, long=long,
            file=file if platform in {"slack", "discord"} and act.where != "command" else "",
        )  # fmt: skip
    drawing.add(act)


def _about_another(drawing: _Drawing, habit: str, base: Act) -> Act | None:
    """Draws an act that refers to an earlier one. None: no act fits, or `habit` is "ask"."""
    rng, now = drawing.rng, drawing.now
    same = [a for a in (*drawing.earlier, *now) if a.platform == base.platform]
    mine = [a for a in same if a.who == base.who]
    # A Discord thread exists once its question is answered, which is certain for earlier rounds
    # only.
    known = drawing.earlier if base.platform == "discord" else [*drawing.earlier, *now]
    roots = [
        a for a in known
        if a.platform == base.platform and a.what == "ask" and a.target is None
        and a.where in ("room", "secret", "group", *(("direct",) if a.who == base.who else ()))
    ]  # fmt: skip
    fresh = [a for a in now if a in mine and a.what == "ask"]
    target: Act | None = None
    what: What = "ask"
    how = ""
    match habit:
        case "follow":
            target = drawing.chosen([a for a in roots if a in mine or base.platform == "discord"])
        case "join" | "chatter":
            # The bot answers people who asked in a thread before, so their messages there are not
            # chatter.
            theirs = mine if habit == "chatter" else [a for a in now if a.what == "chatter"]
            known_there = {a.target for a in theirs}
            target = drawing.chosen(
                [
                    a for a in roots
                    if a not in mine and a.where != "direct" and a.number not in known_there
                ]
            )  # fmt: skip
            what, how = ("chatter", "") if habit == "chatter" else ("ask", "with a mention")
        case "edit":
            target, what = drawing.chosen([a for a in fresh if a.where != "command"]), "edit"
        case "delete":
            # The first message of a thread is never deleted: without it there is no place for the
            # answer.
            target = drawing.chosen(
                [a for a in fresh if a.target is not None
                 or (a.platform == "discord" and a.where == "direct")]
            )  # fmt: skip
            what = "delete"
        case "stop":
            target, what = drawing.chosen([a for a in fresh if a.where != "command"]), "stop"
            how = rng.choice(
                ["text", "native", "button"] if base.platform == "slack" else ["button"]
            )
        case "reset":
            target, what = drawing.chosen([a for a in roots if a in mine]), "reset"
            how = rng.choice(["text", "command"] if base.platform == "slack" else ["command"])
        case "again":
            answered = [a for a in drawing.earlier if a in mine and a.what == "ask"]
            target, what = drawing.chosen(answered), "again"
    if target is None:
        return None
    return Act(
        base.number, base.at_s, base.platform, base.who, what, target.where, target.number, how
    )
