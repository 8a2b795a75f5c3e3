"""What THREADWAX_KEEP_DAYS drops from a conversation: turns and summaries of earlier days."""

from datetime import UTC, datetime, timedelta

import pytest

from dataflow.conversation import Conversation
from dataflow.retention import Kept, kept_turns, may_have_older
from dataflow.snapshot import SNAPSHOT, Snapshot
from dataflow.summary import Summary
from dataflow.thread_starts import ThreadStart
from dataflow.tokens import Window
from dataflow.turn import Turn
from shared.messages import Place

NOW = datetime(2026, 11, 27, 0, 30, tzinfo=UTC)
TODAY = NOW.toordinal()
DM = Place(platform="test", channel="ada", audience="direct")
KEPT = Kept.at(NOW, 7)


def turn(order: int, days_ago: int | None) -> Turn:
    day = None if days_ago is None else TODAY - days_ago
    return Turn(f"q{order}", DM, f"question {order}", f"answer {order}", order, 20, day=day)


def test_a_day_is_that_of_utc() -> None:
    kept = Kept.at(NOW.astimezone(UTC) + timedelta(hours=23), 1)
    assert (kept.since, kept.today) == (TODAY - 1, TODAY)


@pytest.mark.parametrize(
    ("days_ago", "left"),
    [
        ([9, 8, 7, 0], [7, 0]),
        ([8, 8], []),
        ([None, 8, 7], [7]),  # a turn without a day is as old as the one after it
        ([None, 6, None], [6, 6, 0]),  # or from today
        ([], []),
    ],
)
def test_turns_of_earlier_days_are_dropped(days_ago: list[int | None], left: list[int]) -> None:
    turns = [turn(order, ago) for order, ago in enumerate(days_ago, 1)]
    found = kept_turns(turns, KEPT)
    assert [TODAY - (one.day or 0) for one in found] == left


def stored(*turns: Turn, summary_days_ago: int | None = None) -> bytes:
    day = None if summary_days_ago is None else TODAY - summary_days_ago
    summaries = (Summary(DM, "notes", 9, 1, ("x",), day=day),)
    starts = {"ada/": ThreadStart(2, summaries)} if summary_days_ago is not None else {}
    return Snapshot(
        user="test:ada", pending=(), turns=turns, settled=("q1",), next_order=9, ratio=1.0,
        cuts=starts,
    ).dump()  # fmt: skip


def after(snapshot: bytes, kept: Kept = KEPT) -> Snapshot:
    conversation = Conversation.load(snapshot, Window(8000, 1000, ""))
    conversation.forget_older(kept)
    return SNAPSHOT.validate_json(conversation.dump())


def test_a_summary_goes_with_its_oldest_turn() -> None:
    """Its words cannot be told apart."""
    assert after(stored(turn(1, 0), summary_days_ago=8)).cuts["ada/"].summaries == ()
    assert after(stored(turn(1, 0), summary_days_ago=7)).cuts["ada/"].summaries != ()


def test_a_summary_without_a_day_is_as_old_as_the_oldest_turn() -> None:
    undated = stored(turn(1, 8), summary_days_ago=0).replace(b',"day":%d' % TODAY, b"")
    assert after(undated).cuts == {}
    undated = stored(turn(1, 7), summary_days_ago=0).replace(b',"day":%d' % TODAY, b"")
    assert after(undated).cuts["ada/"].summaries[0].day == TODAY - 7


def test_ids_outlive_the_words() -> None:
    """So that a question that is delivered again is not answered again."""
    left = after(stored(turn(1, 8)))
    assert (left.turns, left.settled) == ((), ("q1",))


def test_conversations_of_older_versions_count_from_the_day_of_the_setting() -> None:
    first = after(stored(turn(1, None), turn(2, None)))
    assert [one.day for one in first.turns] == [TODAY, TODAY]
    later = Kept(KEPT.since + 8, TODAY + 8)
    assert after(first.dump(), later).turns == ()


def test_only_conversations_with_something_old_are_read() -> None:
    assert not may_have_older(stored(turn(1, 7), turn(2, 0)), KEPT)
    assert may_have_older(stored(turn(1, 8), turn(2, 0)), KEPT)
    assert may_have_older(stored(turn(1, 0), summary_days_ago=8), KEPT)
    assert may_have_older(stored(turn(1, None)), KEPT)
    assert not may_have_older(stored(), KEPT)


def test_what_people_write_is_not_taken_for_a_day() -> None:
    said = Turn("q1", DM, '{"day":1,"day":2}', "answer", 1, 20, day=TODAY)
    assert not may_have_older(stored(said), KEPT)
