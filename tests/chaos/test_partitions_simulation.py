"""Eviction in the same simulation: the real step writes idle conversations to a real file."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from dataflow.eviction.idle import TICK_S, IdleConversations
from dataflow.eviction.store import EvictedStore
from dataflow.prompts_source import Arrived

from dataflow.conversation import Conversation
from dataflow.conversation_step import BecameIdle, ConversationStep, Heard
from dataflow.effects import Evict, Evicted
from shared.messages import Journaled, Reply
from tests.chaos.test_simulation import USERS, WINDOW, World

WORLDS = 40
STEPS_A_WORLD = 600
EVICT_AFTER_S = 2
QUIET = 0.85
"""The probability that nobody writes for a second."""
NOTIFIED = 0.3
"""The probability that a step gets its notification before anything else happens."""


@dataclass
class EvictingWorld(World):
    """A world in which Bytewax keeps one step per user and drops those of evicted conversations."""

    folder: Path = Path()
    evictions_done: int = 0
    came_back: int = 0

    def __post_init__(self) -> None:
        self.evicted = EvictedStore(self.folder)
        self.now = 0.0
        super().__post_init__()

    def boot(self) -> None:
        position, states = self.snapshot
        self.position = position
        self.replayed_up_to = len(self.log)
        self.calls = {}
        self.completions: list[Reply] = []
        self.changed = set()
        self.evictions: list[tuple[str, Evict]] = []
        self.arriving: list[tuple[str, Heard]] = []
        self.idle = IdleConversations(EVICT_AFTER_S, lambda: self.now)
        self.build = ConversationStep.builder(WINDOW, self.evicted, self.idle)
        self.steps = {user: self.build(state) for user, state in states.items()}
        for user, step in self.steps.items():
            if step.notify_at() is not None:
                self.carry_out(user, step.on_notify()[0])

    def carry_out(self, user: str, effects: object) -> None:
        assert isinstance(effects, list)
        self.evictions += [(user, effect) for effect in effects if isinstance(effect, Evict)]
        self.follow([effect for effect in effects if not isinstance(effect, Evict)])

    def feed(self, user: str, value: Heard) -> None:
        step = self.steps.get(user)
        if step is None:
            self.came_back += self.evicted.get(user) is not None
            step = self.build(None)
        effects, dropped = step.on_batch([value])
        self.steps[user] = step
        self.changed.add(user)
        if dropped:
            del self.steps[user]
            self.evictions_done += isinstance(value, Evicted)
        self.carry_out(user, effects)
        if not dropped and step.notify_at() is not None and self.rng.random() < NOTIFIED:
            self.carry_out(user, step.on_notify()[0])

    def somebody_acts(self) -> None:
        if self.rng.random() < QUIET:
            self.an_epoch_closes()
        else:
            super().somebody_acts()

    def the_flow_reads(self) -> None:
        if self.position < len(self.log):
            event = self.log[self.position]
            replayed = self.position < self.replayed_up_to
            self.position += 1
            self.feed(event.user, Arrived(event, replayed))

    def a_completion_arrives(self) -> None:
        if self.completions:
            reply = self.completions.pop(self.rng.randrange(len(self.completions)))
            self.feed(reply.user, Journaled(reply))
        if self.evictions and self.rng.random() < 0.5:
            user, evict = self.evictions.pop(0)  # in the order in which they are written
            self.evicted.put([(user, evict.snapshot)])
            self.arriving.append((user, Evicted(evict.version)))
        if self.arriving and self.rng.random() < 0.5:
            self.feed(*self.arriving.pop(self.rng.randrange(len(self.arriving))))

    def an_epoch_closes(self) -> None:
        states = dict(self.snapshot[1])
        for user in self.changed:
            states.pop(user, None)
            if user in self.steps:
                states[user] = self.steps[user].snapshot()
                self.note_ended([Conversation.load(states[user], WINDOW)])
        self.snapshot = (self.position, states)
        self.changed.clear()
        self.now += TICK_S
        self.arriving += [(user, BecameIdle()) for user in self.idle.due()]

    def violations(self) -> list[str]:
        self.talks = {}
        for user in USERS:
            step = self.steps.get(user)
            snapshot = self.evicted.get(user) if step is None else step.snapshot()
            if snapshot is not None:
                self.talks[user] = Conversation.load(snapshot, WINDOW)
        return super().violations()


@contextmanager
def worlds(folder: Path, prefix: str) -> Iterator[Iterator[EvictingWorld]]:
    made: list[EvictingWorld] = []

    def make() -> Iterator[EvictingWorld]:
        for number in range(WORLDS):
            (folder / str(number)).mkdir()
            rng = random.Random(f"{prefix}-{number}")
            made.append(EvictingWorld(rng, folder=folder / str(number)))
            yield made[-1]

    try:
        yield make()
    finally:
        for world in made:
            asyncio.run(world.evicted.close())


def test_no_eviction_loses_repeats_or_forgets_a_message(tmp_path: Path) -> None:
    """Crashes happen before, during and after every step of evicting and loading a conversation."""
    evictions = came_back = crashes = 0
    with worlds(tmp_path, "rest") as made:
        for world in made:
            world.run(STEPS_A_WORLD)
            assert world.violations() == [], world.folder.name
            evictions += world.evictions_done
            came_back += world.came_back
            crashes += world.crashes
    assert min(evictions, came_back, crashes) > WORLDS


def test_a_file_without_the_last_messages_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that loses the messages since its snapshot was written is found."""
    leave = ConversationStep._leave

    def hasty(step: ConversationStep, version: int) -> None:
        del version
        if step._conversation is None or not step._conversation.pending:
            leave(step, step._version)

    monkeypatch.setattr(ConversationStep, "_leave", hasty)
    found = []
    with worlds(tmp_path, "mutant") as made:
        for world in made:
            world.run(STEPS_A_WORLD)
            found += world.violations()
    assert any("is not remembered as" in violation for violation in found)
