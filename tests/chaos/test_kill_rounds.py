"""kill -9 at random moments: every question has exactly one reply, in order, and is remembered."""

from pathlib import Path

import pytest

from ops.nats_server import NatsServer
from tests.chaos.kill_rounds import Experiment
from tests.chaos.mutants import program_of
from tests.fakes.model import FakeModel

ROUNDS = 20
SEED = 20261122


@pytest.mark.timeout(600)
async def test_twenty_rounds_of_kill_lose_nothing_and_answer_nothing_twice(
    nats: NatsServer, tmp_path: Path, fake_model: FakeModel
) -> None:
    """60 prompts of 12 users a round; nats-server, the flow or both are killed in each."""
    outcome = await Experiment(SEED, nats, tmp_path / "home", fake_model).run(ROUNDS)
    assert outcome.violations == [], f"seed {SEED}: {outcome}"
    assert outcome.prompts == ROUNDS * 60
    assert outcome.kills_of_nats + outcome.kills_of_dataflow >= ROUNDS


@pytest.mark.timeout(300)
async def test_without_the_journal_the_same_rounds_fail(
    nats: NatsServer, tmp_path: Path, fake_model: FakeModel
) -> None:
    """The experiment can tell: a flow that does not ask the journal answers twice."""
    mutant = program_of("journal", "dataflow")
    outcome = await Experiment(SEED, nats, tmp_path / "home", fake_model, *mutant).run(ROUNDS)
    assert outcome.violations != []
