"""The dataflow's rules under a deterministic scheduler, with crashes at any point.

There are no processes and no clock. As in reality, the event log, older snapshots and the
create-only journal survive a crash, and nothing else does. There are many small worlds, because a
failure needs few events and a big world spends its time loading its memory. A step is one move.
"""

import os
import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from dataflow.conversation import Conversation
from dataflow.effects import CallModel, Cancel, Effect, Settle, Wait
from dataflow.tokens import Window
from shared.messages import AnyEvent, Ask, Deleted, Edited, Place, Reset, Stop
from shared.replies import Journaled, Outcome, Reply

STEPS = int(os.environ.get("SIMULATION_STEPS", "100000"))
"""The total over all seeds."""

SEEDS = range(8)
STEPS_A_WORLD = (60, 200, 600)
WINDOW = Window(context_tokens=10_000_000, answer_tokens=100, system_prompt="s")
START = datetime(2026, 1, 1, tzinfo=UTC)
USERS = ("test:ada", "test:bob", "test:eve")
PLACES = {user: Place(platform="test", channel=user, audience="direct") for user in USERS}


@dataclass
class Call:
    """A model call in progress, which dies with the process."""

    effect: CallModel | Settle
    ended: Outcome | None = None


@dataclass
class World:
    """The state that survives a crash, the state that does not, and a scheduler."""

    rng: random.Random
    with_journal: bool = True
    log: list[AnyEvent] = field(default_factory=list)
    journal: dict[str, list[Reply]] = field(default_factory=lambda: defaultdict(list))
    snapshot: tuple[int, dict[str, bytes]] = (0, {})
    asked: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    ended: set[str] = field(default_factory=set)
    """Questions that a snapshot contains as stopped or withdrawn, without a reply."""
    crashes: int = 0

    def __post_init__(self) -> None:
        self.boot()

    def boot(self) -> None:
        """A process starts from the last snapshot; all events in the log are replays."""
        position, states = self.snapshot
        self.position = position
        self.replayed_up_to = len(self.log)
        self.calls: dict[str, Call] = {}
        self.completions: list[Reply] = []
        self.changed: set[str] = set()
        self.talks = {user: Conversation.load(data, WINDOW) for user, data in states.items()}
        for talk in self.talks.values():
            self.follow(talk.resume())

    def follow(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Cancel):
                if (call := self.calls.get(effect.prompt_id)) is not None:
                    call.ended = effect.outcome
            elif not isinstance(effect, Wait):
                self.calls[effect.ask.id] = Call(effect)

    # --- what can happen next -----------------------------------------------------------------

    def somebody_acts(self) -> None:
        number = len(self.log)
        user = self.rng.choice(USERS)
        mine = self.asked[user]
        kind = self.rng.choices([Ask, Stop, Reset, Edited, Deleted], [12, 1, 0.2, 1, 0.5])[0]
        fields: dict[str, object] = {"address": {}}
        if kind is Ask:
            fields |= {"text": f"q{number}", "attachments": (), "quotes": ()}
            mine.append(f"e{number}")
        elif kind in {Edited, Deleted}:
            if not mine:
                return
            fields["prompt_id"] = self.rng.choice(mine[-3:])
            if kind is Edited:
                fields["text"] = f"edited {number}"
        said_at = START + timedelta(seconds=number)
        # Skips validation for speed: the stored format has its own tests.
        event = kind.model_construct(
            id=f"e{number}", user=user, place=PLACES[user], said_at=said_at, **fields
        )
        self.log.append(event)

    def the_flow_reads(self) -> None:
        if self.position < len(self.log):
            event = self.log[self.position]
            replayed = self.position < self.replayed_up_to
            self.position += 1
            talk = self.talks.setdefault(event.user, Conversation(WINDOW))
            self.changed.add(event.user)
            self.follow(talk.on_event(event, replayed=replayed))

    def a_call_ends(self) -> None:
        if not self.calls:
            return
        prompt_id = self.rng.choice(sorted(self.calls))
        reply = self.journaled(self.calls.pop(prompt_id))
        if self.rng.random() < 0.1:
            self.crash()  # after the reply was journaled, before the conversation learns of it
        else:
            self.completions.append(reply)

    def journaled(self, call: Call) -> Reply:
        """What the create-only journal returns for the end of a call."""
        ask = call.effect.ask
        outcome: Outcome = call.ended or "answered"
        text = f"a{self.rng.getrandbits(40)} to {ask.text}"  # a different text for each call
        if isinstance(call.effect, Settle):
            outcome, text = call.effect.outcome, call.effect.text
        elif outcome == "withdrawn":
            text = ""
        reply = Reply.model_construct(
            prompt_id=ask.id, user=ask.user, place=ask.place, address=ask.address,
            outcome=outcome, text=text, prompt_text=ask.text, said_at=ask.said_at,
            answered_at=ask.said_at, usage=None,
        )  # fmt: skip
        stored = self.journal[ask.id]
        if not self.with_journal or not stored:
            stored.append(reply)
            return reply
        return stored[0]

    def a_completion_arrives(self) -> None:
        if self.completions:
            reply = self.completions.pop(self.rng.randrange(len(self.completions)))
            self.changed.add(reply.user)
            self.follow(self.talks[reply.user].on_reply(Journaled(reply)))

    def an_epoch_closes(self) -> None:
        # Writes only changed conversations, as the real store does.
        states = self.snapshot[1] | {user: self.talks[user].dump() for user in self.changed}
        self.note_ended(self.talks[user] for user in self.changed)
        self.snapshot = (self.position, states)
        self.changed.clear()

    def note_ended(self, talks: Iterable[Conversation]) -> None:
        ends = (p.ask.id for talk in talks for p in talk.pending if p.ending is not None)
        self.ended |= {prompt_id for prompt_id in ends if not self.journal[prompt_id]}

    def crash(self) -> None:
        self.crashes += 1
        self.boot()

    # --- the run ------------------------------------------------------------------------------

    def run(self, steps: int) -> int:
        """Takes this many random steps, then finishes all open work. Returns all steps taken."""
        moves = [
            (self.somebody_acts, 10), (self.the_flow_reads, 14), (self.a_call_ends, 12),
            (self.a_completion_arrives, 14), (self.an_epoch_closes, 2), (self.crash, 0.5),
        ]  # fmt: skip
        for move in self.rng.choices([m for m, _ in moves], [w for _, w in moves], k=steps):
            move()
        while self.position < len(self.log) or self.calls or self.completions:
            # Epochs are needed here: without them a crash undoes all work since the last one.
            for move in (self.the_flow_reads, self.a_call_ends, self.a_completion_arrives):
                move()
                self.an_epoch_closes()
            steps += 6
        return steps

    def remembered(self, user: str) -> list[tuple[str, str]]:
        """Returns the turns that a user saw and did not delete, from the log and the journal."""
        kept: list[Ask] = []
        for event in self.log:
            if event.user != user:
                continue
            if isinstance(event, Ask):
                kept.append(event)
            elif isinstance(event, Reset):
                kept.clear()
            elif isinstance(event, Deleted):
                kept = [ask for ask in kept if ask.id != event.prompt_id]
        seen = [self.journal[ask.id][0] for ask in kept]
        return [
            (reply.prompt_text, reply.text)
            for reply in seen
            if reply.outcome in {"answered", "stopped"} and reply.text
        ]

    def violations(self) -> list[str]:
        asks = [event for event in self.log if isinstance(event, Ask)]
        found = [f"{a.id}: {len(self.journal[a.id])}" for a in asks if len(self.journal[a.id]) != 1]
        if not all(self.journal[ask.id] for ask in asks):
            return found
        found += [
            f"{prompt_id} was stopped or withdrawn, but is answered"
            for prompt_id in self.ended
            if self.journal[prompt_id][0].outcome == "answered"
        ]
        for user, talk in self.talks.items():
            if talk.pending:
                found.append(f"{user} still has pending questions")
            if [(t.question, t.answer) for t in talk.turns] != self.remembered(user):
                found.append(f"{user} is not remembered as it was seen")
        return found


@pytest.mark.parametrize("seed", SEEDS)
def test_each_question_is_answered_once_and_remembered_whatever_crashes(seed: int) -> None:
    """Thousands of worlds from one seed, with a crash in about every fourteenth step."""
    crashes = steps = number = 0
    while steps < STEPS // len(SEEDS):
        world = World(random.Random(f"{seed}-{number}"))
        steps += world.run(STEPS_A_WORLD[number % len(STEPS_A_WORLD)])
        assert world.violations() == [], f"seed {seed}-{number}"
        crashes += world.crashes
        number += 1
    assert crashes > steps // 100


def test_without_the_journal_the_simulation_fails() -> None:
    """The checker notices that questions have two replies."""
    worlds = [World(random.Random(f"mutant-{n}"), with_journal=False) for n in range(20)]
    for world in worlds:
        world.run(STEPS_A_WORLD[-1])
    assert any(world.violations() for world in worlds)
