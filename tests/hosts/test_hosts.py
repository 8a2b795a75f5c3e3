"""Parts of a deployment on several machines fail while people talk: nothing is lost or doubled.

`make host-kills` runs all cases, `make rolling-upgrade` the last test, `make test` one case.
"""

import os
from pathlib import Path

import pytest

from tests.hosts.campaign import (
    Event,
    another_one_added,
    answers_200_ms_later,
    campaign,
    cut_off_for_10_s,
    cut_off_for_45_s,
    killed,
    loses_a_fifth_of_all_packets,
    lost_and_replaced,
    lost_for_good,
    receives_nothing_for_10_s,
    sends_nothing_for_10_s,
    stopped,
)
from tests.hosts.deployment import deployed
from tests.namespaces import why_not
from tests.postgres import binaries

ALL = bool(os.environ.get("ALL_CASES"))

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
    pytest.mark.skipif(binaries() is None, reason="PostgreSQL is not installed"),
]
needs_all = pytest.mark.skipif(not ALL, reason="`make host-kills` runs it: it takes minutes")

EVENTS = (killed, stopped, cut_off_for_10_s, cut_off_for_45_s)

PARTS: dict[str, tuple[Event, ...]] = {
    "dataflow": (*EVENTS, lost_and_replaced, another_one_added, lost_for_good),
    "NATS server": (*EVENTS, lost_and_replaced),
    "PostgreSQL": EVENTS,
    **dict.fromkeys(("gateway", "slack", "discord"), (*EVENTS, lost_and_replaced)),
}

BAD_NETWORK: tuple[Event, ...] = (
    loses_a_fifth_of_all_packets, answers_200_ms_later,
    receives_nothing_for_10_s, sends_nothing_for_10_s,
)  # fmt: skip


@pytest.fixture(autouse=True)
def only_loopback() -> None:
    """Nothing leads out of the network of these tests, so nothing needs to be refused here."""


@pytest.mark.timeout(600 if ALL else 120)
async def test_one_of_each_fails_at_the_same_moment(tmp_path: Path) -> None:
    kinds = ("gateway", "slack", "discord") if ALL else ("gateway", "slack")
    events = (*EVENTS, lost_and_replaced) if ALL else (cut_off_for_10_s,)
    async with deployed(tmp_path, *kinds) as there, campaign(there) as made:
        for event in events:
            await made.case(event, "NATS server", "dataflow", *kinds)


@needs_all
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("part", PARTS)
async def test_a_part_fails_in_every_way(tmp_path: Path, part: str) -> None:
    async with deployed(tmp_path, "gateway", "slack", "discord") as there, campaign(there) as made:
        for event in PARTS[part]:
            await made.case(event, part)


@needs_all
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("part", ["dataflow", "NATS server", "gateway", "slack", "discord"])
async def test_a_part_fails_to_reach_others_well(tmp_path: Path, part: str) -> None:
    """Its network loses packets, is slow, or passes one direction only."""
    async with deployed(tmp_path, "gateway", "slack", "discord") as there, campaign(there) as made:
        for event in BAD_NETWORK:
            await made.case(event, part)


@needs_all
@pytest.mark.timeout(1200)
async def test_every_part_is_replaced_while_people_talk(tmp_path: Path) -> None:
    kinds = ("gateway", "slack", "discord")
    async with deployed(tmp_path, *kinds, recorder=True) as there, campaign(there) as made:
        await made.upgrade()
        await made.everything_is_recorded()
