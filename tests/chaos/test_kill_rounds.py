"""After `kill -9` at random moments, each question has one reply, in order, and is remembered."""

from pathlib import Path

import pytest

from ops.nats_server import NatsServer
from shared import names
from shared.bus import Bus
from shared.group_commit import BATCH_ID
from tests.chaos.kill_rounds import MANY, Experiment
from tests.chaos.mutants import program_of
from tests.fakes.model import FakeModel

ROUNDS = 20
MANY_ROUNDS = 4
SEED = 20261122


@pytest.mark.timeout(600)
async def test_twenty_rounds_of_kill_lose_nothing_and_answer_nothing_twice(
    nats: NatsServer, tmp_path: Path, fake_model: FakeModel
) -> None:
    """60 prompts of 12 users per round; nats-server, the dataflow or both are killed."""
    outcome = await Experiment(SEED, nats, tmp_path / "home", fake_model).run(ROUNDS)
    assert outcome.violations == [], f"seed {SEED}: {outcome}"
    assert outcome.prompts == ROUNDS * 60
    assert outcome.kills_of_nats + outcome.kills_of_dataflow >= ROUNDS


@pytest.mark.timeout(300)
async def test_kills_during_batches_lose_nothing_and_answer_nothing_twice(
    nats: NatsServer, tmp_path: Path, fake_model: FakeModel
) -> None:
    """800 prompts of 400 users per round, enough at the same time to be stored in batches."""
    experiment = Experiment(SEED, nats, tmp_path / "home", fake_model, crowd=MANY)
    outcome = await experiment.run(MANY_ROUNDS)
    assert outcome.violations == [], f"seed {SEED}: {outcome}"
    assert outcome.prompts == MANY_ROUNDS * 800
    bus = await Bus.connect(nats.url, name="test")
    for stream in (names.PROMPTS, names.REPLIES):
        last = await bus.last_sequence(stream)
        stored = [await bus.js.get_msg(stream, number) for number in range(1, last, 10)]
        assert any(BATCH_ID in (message.headers or {}) for message in stored), stream
    await bus.close()


@pytest.mark.timeout(300)
async def test_without_the_journal_the_same_rounds_fail(
    nats: NatsServer, tmp_path: Path, fake_model: FakeModel
) -> None:
    """The experiment notices a dataflow that answers twice because it does not use the journal."""
    mutant = program_of("journal", "dataflow")
    outcome = await Experiment(SEED, nats, tmp_path / "home", fake_model, *mutant).run(ROUNDS)
    assert outcome.violations != []
