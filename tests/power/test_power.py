"""A short run of the power cuts. `make power` runs long ones; docs/power.md describes them."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forgetting import PLACES
from tests.power.forgetting import forgotten_in_the_dark
from tests.power.mounts import why_not
from tests.power.rounds import PowerCampaign

SEED = 4
FORGET_SEED = 5
ROUNDS = 2

WITHOUT_SYNC = "import os; os.fsync = lambda descriptor: None"


@pytest.fixture(autouse=True)
def quiet_fakes() -> Iterator[None]:
    """Keeps the fakes' web server from logging each broken connection."""
    if reason := why_not():
        pytest.skip(reason)
    server = logging.getLogger("aiohttp.server")
    level = server.level
    server.setLevel(logging.CRITICAL)
    yield
    server.setLevel(level)


@pytest.mark.timeout(400)
async def test_a_few_power_cuts_lose_nothing_and_answer_nothing_twice(tmp_path: Path) -> None:
    """All processes run on one machine, which loses power while people talk."""
    campaign = PowerCampaign(SEED, 0, ROUNDS, tmp_path, layout="one machine")
    outcome = await campaign.run()
    assert outcome.violations == [], f"seed {SEED}\n" + "\n".join(outcome.violations)
    assert outcome.counts["cuts"] >= ROUNDS
    assert outcome.counts["disk files cut short"] > 0


@pytest.mark.timeout(400)
async def test_an_address_written_without_a_sync_is_found(tmp_path: Path) -> None:
    """The same rounds fail if `private_file` does not sync, because the password is lost."""
    campaign = PowerCampaign(
        SEED, 0, ROUNDS, tmp_path, layout="one machine", mutations={"nats": WITHOUT_SYNC}
    )
    outcome = await campaign.run()
    assert any("another address or password" in found for found in outcome.violations)


@pytest.mark.timeout(400)
async def test_a_power_cut_while_a_person_is_forgotten_leaves_nothing_of_them(
    tmp_path: Path,
) -> None:
    """One cut while words are erased, and one at the moment when the erasure is reported."""
    outcome = await forgotten_in_the_dark(FORGET_SEED, ROUNDS, tmp_path)
    assert outcome.violations == [], "\n".join(outcome.violations)
    assert outcome.counts["power cuts"] >= ROUNDS
    assert outcome.counts["files with the marker"] >= ROUNDS * len(PLACES)
