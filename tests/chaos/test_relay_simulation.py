"""The real relay, previews and receipts under a deterministic scheduler, killed at any point.

`SIMULATION_STEPS` makes it longer. A failure names its seed, which repeats it step by step.
"""

import os
from collections.abc import Callable, Iterator
from random import Random

import pytest
import structlog
from nats.aio.msg import Msg
from nats.js.kv import KeyValue

from bots.part_poster import PartPoster
from bots.platform import Part
from bots.preview import Preview
from bots.relay import Relay
from bots.thread_order import ThreadOrder
from shared import receipts
from tests.chaos.mutants import without_receipts
from tests.chaos.simulated_relay_world import World

STEPS = int(os.environ.get("SIMULATION_STEPS", "100000"))
"""In all, over all seeds."""

SEEDS = range(8)
MUTANT_WORLDS = 150


@pytest.fixture(autouse=True)
def no_log() -> Iterator[None]:
    """It would take most of the time."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    yield
    structlog.reset_defaults()


def run_worlds(seed: str, steps_wanted: int, *, rough: bool) -> None:
    crashes = steps = number = 0
    while steps < steps_wanted:
        world = World(Random(f"{seed}-{number}"), rough=rough)
        world.run()
        assert world.violations() == [], f"seed {seed}-{number}"
        steps += world.scheduler.steps
        crashes += world.crashes
        number += 1
    assert crashes > steps // 400


@pytest.mark.parametrize("seed", SEEDS)
def test_each_reply_is_shown_once_in_full_and_in_order_whatever_dies_when(seed: int) -> None:
    """Hundreds of worlds, each with a handful of lives, from one seed."""
    run_worlds(f"calm-{seed}", STEPS // 2 // len(SEEDS), rough=False)


@pytest.mark.parametrize("seed", SEEDS)
def test_nor_do_cut_connections_and_defects_lose_or_repeat_anything(seed: int) -> None:
    """Connections break again and again before all is there, and the adapter has defects."""
    run_worlds(f"rough-{seed}", STEPS // 2 // len(SEEDS), rough=True)


# --- the checker can tell -------------------------------------------------------------------------


def receipts_that_are_no_claims(patch: pytest.MonkeyPatch) -> None:
    """Written after the post only: "not posted" and "posted, then killed" look the same."""

    async def create(_: KeyValue, key: str, value: bytes) -> int:
        return len(key) + len(value)

    patch.setattr(KeyValue, "create", create)


def claims_that_anybody_can_make(patch: pytest.MonkeyPatch) -> None:
    """Without the create-only header."""
    patch.setattr(KeyValue, "create", KeyValue.put)


def nobody_looks(patch: pytest.MonkeyPatch) -> None:
    """What may have been posted is posted again."""
    shown = PartPoster._shown

    async def blind(self: PartPoster, part: Part, *, look_first: bool) -> str:
        del look_first
        return await shown(self, part, look_first=False)

    patch.setattr(PartPoster, "_shown", blind)


def everybody_looks(patch: pytest.MonkeyPatch) -> None:
    """A look costs rate limit, and most replies need none."""
    shown = PartPoster._shown

    async def careful(self: PartPoster, part: Part, *, look_first: bool) -> str:
        del look_first
        return await shown(self, part, look_first=True)

    patch.setattr(PartPoster, "_shown", careful)


def nobody_waits_for_the_one_before(patch: pytest.MonkeyPatch) -> None:
    """What a dead relay or a broken connection had in hand comes again behind younger replies."""

    async def may_go(_: ThreadOrder, after: str | None) -> bool:
        del after
        return True

    patch.setattr(ThreadOrder, "_may_go", may_go)


def what_was_sent_once_counts_as_finished(patch: pytest.MonkeyPatch) -> None:
    """The receipts are asked, and their answer is not believed."""

    async def may_still_come(_: ThreadOrder, after: str) -> bool:
        del after
        return False

    patch.setattr(ThreadOrder, "_may_still_come", may_still_come)


def a_claim_counts_as_finished(patch: pytest.MonkeyPatch) -> None:
    """The first part is claimed, and perhaps posted; the others are not."""
    patch.setattr(receipts, "_FINISHED", "")


def nobody_waits_for_previews(patch: pytest.MonkeyPatch) -> None:
    async def end_at_once(_: Preview) -> None:
        pass

    patch.setattr(Preview, "end", end_at_once)


def acknowledged_first(patch: pytest.MonkeyPatch) -> None:
    """As if shown, before it is."""
    take = Relay._take

    async def taken(self: Relay, message: Msg) -> None:
        await message.ack()
        message._ackd = False
        await take(self, message)

    patch.setattr(Relay, "_take", taken)


@pytest.mark.parametrize(
    "mutate",
    [
        without_receipts, receipts_that_are_no_claims, claims_that_anybody_can_make, nobody_looks,
        everybody_looks, nobody_waits_for_the_one_before, what_was_sent_once_counts_as_finished,
        a_claim_counts_as_finished, nobody_waits_for_previews, acknowledged_first,
    ],
)  # fmt: skip
def test_a_relay_without_one_of_its_rules_fails(
    mutate: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    for number in range(MUTANT_WORLDS):
        world = World(Random(f"mutant-{number}"))
        world.run()
        if world.violations():
            return
    raise AssertionError("nothing was noticed")
