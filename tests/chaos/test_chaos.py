"""A short run of the chaos suite. `make chaos` runs long ones; docs/chaos.md describes it."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.campaign import Campaign

SEED = 20262291  # eight faults, among them kills of dataflow, recorder, an adapter and the page
ROUNDS = 5

RECALLS_EVERYTHING = """
import dataflow.audience
dataflow.audience.may_recall = lambda said_in, here: True
"""


@pytest.fixture(autouse=True)
def quiet_fakes() -> Iterator[None]:
    """Keeps the fakes' web server from logging each broken connection."""
    server = logging.getLogger("aiohttp.server")
    level = server.level
    server.setLevel(logging.CRITICAL)
    yield
    server.setLevel(level)


@pytest.mark.timeout(400)
async def test_a_few_rounds_of_chaos_lose_nothing_and_answer_nothing_twice(tmp_path: Path) -> None:
    """Five rounds of one seed with real processes. The checker judges each round."""
    campaign = Campaign(SEED, 0, ROUNDS, tmp_path)
    outcome = await campaign.run()
    plan = "\n".join(map(str, campaign.plan))
    assert outcome.violations == [], f"seed {SEED}\n{plan}\n" + "\n".join(outcome.violations)
    assert outcome.rounds == ROUNDS
    injected = sum(count for name, count in outcome.counts.items() if name.startswith("fault"))
    assert injected >= ROUNDS - len(outcome.left_out)


@pytest.mark.timeout(400)
async def test_a_dataflow_that_uses_messages_everywhere_is_found(tmp_path: Path) -> None:
    """The dataflow uses messages from everywhere, and the checker sees that in a model request."""
    campaign = Campaign(
        SEED, 0, ROUNDS, tmp_path, faults=(), mutations={"dataflow": RECALLS_EVERYTHING}
    )
    outcome = await campaign.run()
    assert any(complaint.startswith("AUDIENCE") for complaint in outcome.violations)
