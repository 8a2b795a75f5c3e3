"""Parts of a deployment on several machines fail while people talk: nothing is lost or doubled.

`make host-kills` runs all cases and the rolling upgrade, `make test` a few of them.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from shared import names
from tests.hosts.campaign import (
    Event,
    another_one_added,
    campaign,
    cut_off_for_10_s,
    cut_off_for_45_s,
    killed,
    lost_and_replaced,
    lost_for_good,
    stopped,
)
from tests.hosts.deployment import Deployment, Part, deployed
from tests.namespaces import why_not
from tests.postgres import binaries

ALL = bool(os.environ.get("ALL_CASES"))

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
    pytest.mark.skipif(binaries() is None, reason="PostgreSQL is not installed"),
]
needs_all = pytest.mark.skipif(not ALL, reason="`make host-kills` runs it: it takes minutes")

EVENTS = (killed, stopped, cut_off_for_10_s, cut_off_for_45_s)
Choose = Callable[[Deployment], list[Part]]
PARTS: dict[str, tuple[Choose, tuple[Event, ...]]] = {
    "dataflow": (
        lambda there: [*there.dataflows[:1]],
        (*EVENTS, lost_and_replaced, another_one_added, lost_for_good),
    ),
    "NATS server": (lambda there: [there.leader(names.PROMPTS)], (*EVENTS, lost_and_replaced)),
    "PostgreSQL": (lambda there: [there.postgres], EVENTS),
    **{
        kind: (lambda there, kind=kind: [*there.adapters[kind][:1]], (*EVENTS, lost_and_replaced))
        for kind in ("gateway", "slack", "discord")
    },
}


def one_of_each(there: Deployment) -> list[Part]:
    """One of all those that have others to take over, and the NATS server that matters most."""
    ours = (there.dataflows, *there.adapters.values())
    return [there.leader(names.PROMPTS), *(several[0] for several in ours)]


@pytest.fixture(autouse=True)
def only_loopback() -> None:
    """Nothing leads out of the network of these tests, so nothing needs to be refused here."""


@pytest.mark.parametrize("event", [killed, cut_off_for_10_s, *([lost_and_replaced] if ALL else [])])
async def test_one_of_each_fails_at_the_same_moment(tmp_path: Path, event: Event) -> None:
    kinds = ("gateway", "slack", "discord") if ALL else ("gateway", "slack")
    async with deployed(tmp_path, *kinds) as there, campaign(there) as made:
        row = await made.case("one of each", event, lambda: one_of_each(there))
    assert row.questions > len(kinds)


@needs_all
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("part", PARTS)
async def test_a_part_fails_in_every_way(tmp_path: Path, part: str) -> None:
    choose, events = PARTS[part]
    async with deployed(tmp_path, "gateway", "slack", "discord") as there, campaign(there) as made:
        for event in events:
            await made.case(part, event, lambda: choose(there))


@needs_all
@pytest.mark.timeout(1200)
async def test_every_part_is_replaced_while_people_talk(tmp_path: Path) -> None:
    async with deployed(tmp_path, "gateway", "slack", "discord") as there, campaign(there) as made:
        await made.upgrade()
