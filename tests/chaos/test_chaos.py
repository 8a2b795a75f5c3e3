"""A short run of the chaos suite; `make chaos` runs long ones. docs/chaos.md says what it does."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.campaign import Campaign

SEED = 20261778  # kills the flow, nats-server and an adapter, among nine faults
ROUNDS = 5

HEARS_EVERYTHING = """
import dataflow.audience
dataflow.audience.may_recall = lambda said_in, here: True
"""


@pytest.fixture(autouse=True)
def quiet_fakes() -> Iterator[None]:
    """Connections break all the time; the fakes' server would log each."""
    server = logging.getLogger("aiohttp.server")
    level = server.level
    server.setLevel(logging.CRITICAL)
    yield
    server.setLevel(level)


@pytest.mark.timeout(400)
async def test_a_few_rounds_of_chaos_lose_nothing_and_answer_nothing_twice(tmp_path: Path) -> None:
    """Five rounds of one seed on real processes, each judged by the checker."""
    campaign = Campaign(SEED, 0, ROUNDS, tmp_path)
    outcome = await campaign.run()
    plan = "\n".join(map(str, campaign.plan))
    assert outcome.violations == [], f"seed {SEED}\n{plan}\n" + "\n".join(outcome.violations)
    assert outcome.rounds == ROUNDS
    struck = sum(count for name, count in outcome.counts.items() if name.startswith("fault"))
    assert struck >= ROUNDS - len(outcome.left_out)


@pytest.mark.timeout(400)
async def test_a_flow_that_carries_words_everywhere_is_found(tmp_path: Path) -> None:
    """The real system without its rule of who may hear what: the checker reads it in a request."""
    campaign = Campaign(
        SEED, 0, ROUNDS, tmp_path, faults=(), mutations={"dataflow": HEARS_EVERYTHING}
    )
    outcome = await campaign.run()
    assert any(complaint.startswith("AUDIENCE") for complaint in outcome.violations)
