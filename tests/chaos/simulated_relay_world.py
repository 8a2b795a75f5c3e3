"""The world around the simulated relay: the state that survives it, the users, and a checker.

The real relay, previews, receipts, bus and pulls run in it, one process after another. A step is
one call of the scheduler: a coroutine runs to its next `await`, a message arrives, or a timer
fires.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

from nats.js import JetStreamContext

from bots.part_poster import NOT_SHOWABLE
from bots.platform import Part
from bots.relay import Relay
from bots.showing import STOPPED
from bots.split_text import split_text
from shared import names, user_names
from shared.bus import Bus
from shared.connection import REQUEST_TIMEOUT_S
from shared.replies import Outcome, Partial, Reply
from tests.chaos.simulated_loop import Life, Scheduler
from tests.chaos.simulated_nats import Connection, Server
from tests.chaos.simulated_platform import NAME, REFUSED, TEXT_LIMIT_CHARS, Adapter, Screen
from tests.running import direct

USERS = ("ada", "bob")
STEPS_BETWEEN_CRASHES = (60, 200, 800)
CRASHES_LIMIT = 8
CUTS_A_STEP = 1 / 80
STEPS_LIMIT = 100_000
"""A world needs a few thousand steps. One that needs this many never ends."""

DOWN_S = 1.0
"""Time between a crash and the restart. A real restart takes longer."""

QUIET_S = 40.0
"""Quiet time at the end, in which a wrong message would still appear."""

NOW = datetime.now(UTC)


@dataclass
class World:
    """One run. The connection can break once per process.

    `rough`: it breaks repeatedly, and the adapter has defects. The order must still be kept.
    """

    rng: Random
    rough: bool = False
    crashes: int = 0
    replies: list[Reply] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(self.rng)
        self.server = Server(self.scheduler)
        self.screen = Screen(
            self.scheduler, nonces=self.rng.random() < 0.5, faults=self.rough, needed=self.needed
        )
        self.life: Life | None = None
        self.cut_before = False
        self.claimed_before: set[str] = set()
        self.recorded_before: set[str] = set()
        self.errors: list[str] = []
        self.behind: dict[str, Reply] = {}
        self.coming = 0
        for user in USERS:
            for number in range(self.rng.randint(1, 5)):
                self.somebody_asked(user, number)

    # --- events of the world ------------------------------------------------------------------

    def somebody_asked(self, user: str, number: int) -> None:
        """Schedules a reply: partials that can be lost or late, then the reply itself."""
        words = [f"w{n}" for n in range(self.rng.choice((0, 1, 3, 12, 25)))]
        if words and self.rng.random() < 0.1:
            words[self.rng.randrange(len(words))] = REFUSED
        outcome: Outcome = "withdrawn" if self.rng.random() < 0.15 else "answered"
        old = self.rng.random() < 0.1
        reply = Reply(
            prompt_id=f"{user}-{number}", user=user_names.user_of(NAME, user), place=direct(user),
            outcome=outcome, text=" ".join(words), said_at=NOW,
            after=f"{user}-{number - 1}" if number else None,
            answered_at=NOW - timedelta(hours=30) if old else NOW,
        )  # fmt: skip
        if self.rng.random() < 0.05:
            self.screen.gone_after[reply.prompt_id] = self.rng.randint(0, 2)
        if self.rng.random() < 0.05:
            self.screen.mute.add(reply.prompt_id)
        journaled = self.rng.choice((0.0, 0.0, self.rng.uniform(0, 20)))
        for sequence in range(self.rng.choice((0, 0, 1, 4))):
            data = Partial(
                prompt_id=reply.prompt_id, user=reply.user, place=reply.place, attempt=1,
                sequence=sequence + 1, text=" ".join(words[: sequence + 1]) or "...",
                after=reply.after,
            ).wire()  # fmt: skip
            when = journaled + self.rng.choice((-0.01, -2.0, -5.0, 0.0, 0.5, 3.0))
            subject = names.partial_subject(reply.user, reply.prompt_id)
            self.scheduler.later(max(0.0, when), self.server.publish_unstored, subject, data)
        self.coming += 1
        self.scheduler.later(journaled, self.journal, reply)

    def journal(self, reply: Reply) -> None:
        if reply.after is not None and all(r.prompt_id != reply.after for r in self.replies):
            # The next question is asked only after the reply to this one was journaled.
            self.behind[reply.after] = reply
            return
        self.coming -= 1
        self.replies.append(reply)
        if (next_one := self.behind.pop(reply.prompt_id, None)) is not None:
            self.scheduler.soon(self.journal, next_one)
        self.server.journal(names.reply_subject(reply.user, reply.prompt_id), reply.wire())

    def boot(self) -> None:
        self.life = Life(self.scheduler)
        self.cut_before = self.rng.random() < 0.5  # in the other half of the lives, it can break
        self.claimed_before = set(self.server.receipts)
        self.recorded_before = {k for k, (_, value) in self.server.receipts.items() if value}
        self.connection = Connection(self.server, self.scheduler, self.life)
        self.adapter = Adapter(self.screen, self.life)
        bus = Bus("nats://simulated", lambda: None)
        bus.client = self.connection  # type: ignore[assignment]
        bus.js = JetStreamContext(self.connection, timeout=REQUEST_TIMEOUT_S)  # type: ignore[arg-type]

        def reconnected() -> None:
            for call in tuple(bus._on_reconnect):
                call()

        self.connection.on_reconnected = reconnected
        subject, partials = f"replies.{NAME}.>", f"partials.{NAME}.>"
        relay = Relay(bus, self.adapter, consumer=NAME, subject=subject, partials=partials)
        self.life.create_task(relay.run())

    def crash(self) -> None:
        assert self.life is not None
        self.errors += [str(context) for context in self.life.errors]
        self.life.die()
        self.adapter.die()
        self.connection.die()
        self.life = None

    def needed(self, part: Part) -> bool:
        """Whether the part may have been posted by an earlier process, or by this one."""
        key = f"$KV.RECEIPTS.{NAME}.{part.key}"
        if key in self.recorded_before:
            return False
        doubt = self.cut_before or self.rough or part.key in self.adapter.tried_in_doubt
        return doubt or key in self.claimed_before

    # --- the run ------------------------------------------------------------------------------

    def run(self) -> None:
        """Kills process after process until all is shown; the last one runs without faults."""
        pace = self.rng.choice(STEPS_BETWEEN_CRASHES)
        try:
            while self.crashes < CRASHES_LIMIT and not self.all_done:
                self.boot()
                last = self.scheduler.steps + 1 + int(self.rng.expovariate(1 / pace))
                while self.scheduler.steps < last and not self.all_done:
                    if (self.rough or not self.cut_before) and self.rng.random() < CUTS_A_STEP:
                        self.cut_before = True
                        self.connection.cut()
                    self.scheduler.step()
                self.crash()
                self.crashes += 1
                self.pass_time(self.rng.choice((DOWN_S, 5.0)))
            self.screen.quiet = True
            self.boot()
            while not self.all_done and self.scheduler.steps < STEPS_LIMIT:
                self.scheduler.step()
            self.pass_time(QUIET_S)
        finally:
            if self.life is not None:
                self.crash()

    @property
    def all_done(self) -> bool:
        return not self.coming and self.server.all_acknowledged

    def pass_time(self, seconds: float) -> None:
        over: list[float] = []
        self.scheduler.later(seconds, over.append, seconds)
        while not over:
            self.scheduler.step()

    # --- the checks ---------------------------------------------------------------------------

    def violations(self) -> list[str]:
        found = [f"a task failed: {error}" for error in self.errors]
        found += [f"needless search for {key}" for key in self.screen.needless_searches]
        if not self.all_done:
            found.append("some replies are not acknowledged")
        found += [
            f"{message.key} is still a preview"
            for message in self.screen.visible()
            if not message.whole and message.prompt_id not in self.given_up_after_a_day
        ]
        for user in USERS:
            found += self.violations_of(user_names.user_of(NAME, user))
        return found

    def violations_of(self, user: str) -> list[str]:
        """Each reply must be shown once, completely, and after all older ones."""
        found: list[str] = []
        wanted: list[tuple[str, str]] = []
        for reply in self.replies:
            if reply.user != user:
                continue
            parts = self.parts_of(reply)
            visible = self.screen.visible(reply.prompt_id)
            shown = sorted((m.key, m.text) for m in visible if m.whole)
            if reply.prompt_id in self.given_up_after_a_day:
                parts = parts[: len(shown)]
            if shown != parts:
                found.append(f"{reply.prompt_id} shows {shown} instead of {parts}")
            wanted += parts
        completed = [(m.key, m.text) for who, m in self.screen.completed if who == user]
        if not found and completed != wanted:
            found.append(f"{user} saw {completed} instead of {wanted}")
        return found

    @property
    def given_up_after_a_day(self) -> set[str]:
        """Replies given up: parts can be missing, and previews can remain."""
        return {
            letter.split("-", 1)[1].removesuffix("-unshown")
            for letter, reason in self.server.letters.items()
            if reason.startswith("not shown within a day")
        }

    def parts_of(self, reply: Reply) -> list[tuple[str, str]]:
        """Returns the parts of a reply that people should see."""
        if reply.outcome == "withdrawn" or reply.prompt_id in self.screen.mute:
            return []
        parts: list[tuple[str, str]] = []
        notified = False
        pieces = split_text(reply.text or STOPPED, TEXT_LIMIT_CHARS)
        for index, piece in enumerate(pieces[: self.screen.gone_after.get(reply.prompt_id)]):
            key = f"{reply.prompt_id}.{index}"
            if REFUSED not in piece:
                parts.append((key, piece))
            elif not notified:
                parts.append((key, NOT_SHOWABLE))
                notified = True
        return parts
