"""The real relay, previews and receipts under a deterministic scheduler, killed at random points.

Set `SIMULATION_STEPS` for a longer run. A failure prints its seed, which repeats it exactly.
"""

import os
from collections.abc import Callable, Iterator
from random import Random

import pytest
import structlog
from nats.aio.msg import Msg

from bots.part_poster import PartPoster
from bots.platform import Part
from bots.preview import Preview
from bots.relay import Relay
from bots.thread_order import ThreadOrder
from shared import receipts
from tests.chaos.mutants import without_receipts
from tests.chaos.simulated_relay_world import World

STEPS = int(os.environ.get("SIMULATION_STEPS", "100000"))
"""The total over all seeds."""

SEEDS = range(8)
MUTANT_WORLDS = 150


@pytest.fixture(autouse=True)
def no_log() -> Iterator[None]:
    """Turns the log off: it would take most of the time."""
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
def test_each_reply_is_shown_once_in_full_and_in_order_despite_crashes(seed: int) -> None:
    """Hundreds of worlds from one seed, each with a few crashes."""
    run_worlds(f"calm-{seed}", STEPS // 2 // len(SEEDS), rough=False)


@pytest.mark.parametrize("seed", SEEDS)
def test_cut_connections_and_defects_lose_and_repeat_nothing(seed: int) -> None:
    """Connections break repeatedly before all replies arrive, and the adapter has defects."""
    run_worlds(f"rough-{seed}", STEPS // 2 // len(SEEDS), rough=True)


# --- a relay that breaks a rule is noticed --------------------------------------------------------


def receipts_without_claims(patch: pytest.MonkeyPatch) -> None:
    """Receipts are written after the post: "not posted" looks like "posted, then killed"."""

    async def put_claim(_: receipts.Receipts, key: str, *, revision: int) -> bool:
        del key, revision
        return True

    patch.setattr(receipts.Receipts, "_put_claim", put_claim)


def claims_that_overwrite(patch: pytest.MonkeyPatch) -> None:
    """Claims lack the create-only header."""

    async def put_claim(self: receipts.Receipts, key: str, *, revision: int) -> bool:
        del revision
        await self._bucket.put(f"{self._platform}.{key}", b"")
        return True

    patch.setattr(receipts.Receipts, "_put_claim", put_claim)


def post_without_search(patch: pytest.MonkeyPatch) -> None:
    """Parts that may have been posted are posted again without a search."""
    shown = PartPoster._shown

    async def blind(self: PartPoster, part: Part, *, look_first: bool) -> str:
        del look_first
        return await shown(self, part, look_first=False)

    patch.setattr(PartPoster, "_shown", blind)


def always_search(patch: pytest.MonkeyPatch) -> None:
    """Every part is searched for first, which uses up the rate limit without need."""
    shown = PartPoster._shown

    async def careful(self: PartPoster, part: Part, *, look_first: bool) -> str:
        del look_first
        return await shown(self, part, look_first=True)

    patch.setattr(PartPoster, "_shown", careful)


def ignore_predecessor(patch: pytest.MonkeyPatch) -> None:
    """Replies that a dead relay or a broken connection held are redelivered after newer ones."""

    async def may_go(_: ThreadOrder, after: str | None) -> bool:
        del after
        return True

    patch.setattr(ThreadOrder, "_may_go", may_go)


def unfinished_counts_as_finished(patch: pytest.MonkeyPatch) -> None:
    """The order ignores that the receipts say a predecessor is not finished."""

    async def may_still_come(_: ThreadOrder, after: str) -> bool:
        del after
        return False

    patch.setattr(ThreadOrder, "_may_still_come", may_still_come)


def claim_counts_as_finished(patch: pytest.MonkeyPatch) -> None:
    """Only the first part is claimed, and perhaps posted; the others are not."""
    patch.setattr(receipts, "_FINISHED", "")


def do_not_wait_for_previews(patch: pytest.MonkeyPatch) -> None:
    async def end_at_once(_: Preview) -> None:
        pass

    patch.setattr(Preview, "end", end_at_once)


def acknowledge_before_posting(patch: pytest.MonkeyPatch) -> None:
    """Replies are acknowledged before they are posted."""
    take = Relay._take

    async def acknowledge_and_take(self: Relay, message: Msg) -> None:
        await message.ack()
        message._ackd = False
        await take(self, message)

    patch.setattr(Relay, "_take", acknowledge_and_take)


@pytest.mark.parametrize(
    "mutate",
    [
        without_receipts, receipts_without_claims, claims_that_overwrite, post_without_search,
        always_search, ignore_predecessor, unfinished_counts_as_finished,
        claim_counts_as_finished, do_not_wait_for_previews, acknowledge_before_posting,
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
