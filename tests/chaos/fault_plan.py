"""Draws the faults of a round: kind, target, time and duration. Pure."""

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

PROCESSES: Final = ("dataflow", "slack", "discord", "gateway", "recorder", "web", "nats")
TO_NATS: Final = (
    "dataflow-nats", "slack-nats", "discord-nats", "gateway-nats", "recorder-nats",
    "web-nats",
)  # fmt: skip
TO_OTHERS: Final = ("model", "slack-api", "discord-api", "web-page")
LINKS: Final = (*TO_NATS, *TO_OTHERS)
"""Connections. Each one passes through its own proxy."""

SLACK_CALLS: Final = (
    "chat.postMessage", "chat.update", "chat.startStream", "chat.appendStream", "chat.stopStream",
    "conversations.replies", "agents.sessions.setStatus",
)  # fmt: skip
DISCORD_CALLS: Final = ("POST message", "PATCH message", "POST thread", "GET messages", "callback")

SLACK_EXTRAS: Final = (
    "chat.postMessage unfurl_links", "chat.postMessage blocks.context_actions",
    "chat.update blocks.context_actions", "chat.startStream recipient_team_id",
)  # fmt: skip
DISCORD_EXTRAS: Final = ("flags", "message_reference")
"""Fields that the platform refuses and an answer does not need.

Metadata and buttons are not among them: without them, an answer cannot be found after a crash
(docs/reliability.md).
"""

MOMENTS: Final = (
    "slack at a call", "discord at a call", "dataflow at a model call", "dataflow at a reply",
    "slack at a reply", "discord at a reply", "gateway at a reply", "nats at a reply",
    "dataflow at a partial", "slack at a partial", "discord at a partial",
    "web at a question", "web at a reply", "web at a partial",
)  # fmt: skip
"""Which process is killed at which moment: just before or just after the effect."""

KINDS: Final[dict[str, tuple[float, tuple[str, ...]]]] = {
    # kind: weight, targets
    "kill": (20, PROCESSES),
    "kill-at": (20, MOMENTS),
    "term": (8, PROCESSES),
    "pause": (9, PROCESSES),
    "cut": (7, LINKS),
    "half-open": (7, LINKS),
    "slow": (5, LINKS),
    "lose": (5, TO_NATS),
    "slack-limit": (2, SLACK_CALLS),
    "slack-500": (3, SLACK_CALLS),
    "slack-hang": (1, SLACK_CALLS),
    "slack-lost": (4, SLACK_CALLS),
    "slack-socket": (6, ("cut", "refresh", "deaf", "mute", "lose acks")),
    "discord-429": (2, DISCORD_CALLS),
    "discord-500": (3, DISCORD_CALLS),
    "discord-lost": (4, DISCORD_CALLS),
    "discord-reset": (2, DISCORD_CALLS),
    "discord-gateway": (6, ("drop", "reconnect", "close", "invalidate", "silent")),
    "slack-refuses": (3, SLACK_EXTRAS),
    "discord-refuses": (3, DISCORD_EXTRAS),
    "model": (
        10,
        ("429", "500", "503", "400", "reset", "cut", "cut early", "corrupt", "stall", "no finish",
         "error frame"),
    ),
    "disk": (3, ("nats", "dataflow")),
    "clock": (5, ("dataflow", "slack", "discord", "gateway")),
}  # fmt: skip
"""All kinds of faults, with their weights and targets."""

STEPS_S: Final = (-300, -30, 30, 300)
"""Clock steps.

They are small enough for a time service to correct at once, and shorter than the 15 minutes, on
Discord's own clock, in which a command can be answered.
"""

LONG_S: Final = 4.0
LONG_ONE_IN: Final = 8


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """One fault. `amount`: how often, how slow or how far. `twist` selects one of two variants."""

    kind: str
    target: str
    at_s: float
    lasts_s: float
    amount: int = 1
    twist: bool = False

    def __str__(self) -> str:
        words = f"{self.at_s:5.2f} s  fault {self.kind} {self.target} for {self.lasts_s:.1f} s"
        return f"{words}, amount {self.amount}{', twist' if self.twist else ''}"

    @property
    def claims(self) -> str:
        """The resource that only one fault at a time can use."""
        if self.kind in {"kill", "term", "pause", "disk"}:
            return self.target
        if self.kind == "kill-at":
            return self.target.split()[0]
        if self.kind.startswith("slack-") and self.kind != "slack-socket":
            return f"slack {self.target}"
        return f"{self.kind} {self.target}"


def drawn_faults(
    rng: random.Random, within_s: float, *, only: Collection[str] | None = None
) -> Iterator[PlannedFault]:
    """Draws one to three faults, ordered by start time."""
    kinds = {k: weight for k, (weight, _) in KINDS.items() if only is None or k in only}
    if not kinds:
        return
    count = rng.choices((1, 2, 3), (50, 35, 15))[0]
    chosen: dict[str, PlannedFault] = {}
    for _ in range(count):
        planned = _drawn(rng, rng.choices(list(kinds), list(kinds.values()))[0], within_s)
        chosen.setdefault(planned.claims, planned)
    yield from sorted(chosen.values(), key=lambda planned: planned.at_s)


def _drawn(rng: random.Random, kind: str, within_s: float) -> PlannedFault:
    lasts_s = rng.uniform(0.1, 1.2)
    if kind in {"pause", "half-open"}:
        lasts_s = LONG_S if rng.randrange(LONG_ONE_IN) == 0 else rng.uniform(0.3, 1.5)
    if kind == "kill-at":
        lasts_s = 1.5  # the time to wait for the moment
    amount = rng.choice(STEPS_S) if kind == "clock" else rng.randint(1, 3)
    return PlannedFault(
        kind,
        rng.choice(KINDS[kind][1]),
        at_s=rng.uniform(0, within_s),
        lasts_s=lasts_s,
        amount=amount,
        twist=rng.random() < 0.5,
    )
