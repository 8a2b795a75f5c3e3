"""Quotas: what one holder uses never counts against another, and comes back over a day."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import quota, streams
from shared.log_throttle import LogThrottle
from shared.quota import Quotas

TAKES = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 120), st.floats(0, 50)), max_size=40
)


def test_a_share_is_used_up_and_comes_back_evenly() -> None:
    shares = Quotas(100, refill_s=10)
    assert shares.take("ada", 100, 0.0)
    assert not shares.take("ada", 1, 0.0)
    assert shares.take("ada", 10, 1.0)
    assert not shares.take("ada", 1, 1.0)
    assert shares.take("ada", 100, 11.0)


def test_what_does_not_fit_takes_nothing() -> None:
    shares = Quotas(100)
    assert not shares.take("ada", 101, 0.0)
    assert shares.take("ada", 100, 0.0)


def test_what_was_not_stored_is_given_back() -> None:
    shares = Quotas(100)
    assert shares.take("ada", 100, 0.0)
    shares.give_back("ada", 100, 0.0)
    assert shares.take("ada", 100, 0.0)
    shares.give_back("ada", 1000, 0.0)
    assert not shares.take("ada", 101, 0.0), "never more than a share"


@given(TAKES)
def test_nobody_gets_more_than_a_share_and_what_came_back(
    takes: list[tuple[str, int, float]],
) -> None:
    shares, now, taken = Quotas(100, refill_s=10), 0.0, dict.fromkeys("abc", 0)
    for holder, amount, passed in takes:
        now += passed
        if shares.take(holder, amount, now):
            taken[holder] += amount
    assert all(amount <= 100 + now * 10 + 1e-6 for amount in taken.values())


@given(TAKES)
def test_others_do_not_matter(takes: list[tuple[str, int, float]]) -> None:
    alone, together, now = Quotas(100, refill_s=10), Quotas(100, refill_s=10), 0.0
    for holder, amount, passed in takes:
        now += passed
        granted = together.take(holder, amount, now)
        if holder == "a":
            assert granted == alone.take(holder, amount, now)


def test_memory_is_bounded_and_forgets_whoever_was_quiet_longest() -> None:
    shares = Quotas(100, holders_limit=3)
    for holder in "abcd":
        assert shares.take(holder, 100, 0.0)
    assert len(shares) == 3
    assert shares.take("a", 100, 0.0)
    assert not shares.take("d", 1, 0.0)


def test_holders_with_a_full_share_are_not_remembered() -> None:
    shares = Quotas(100, refill_s=10)
    for number in range(100):
        assert shares.take(str(number), 1, float(number))
    assert len(shares) <= 2


def test_one_user_gets_an_eighth_of_the_events_and_a_quarter_of_the_files() -> None:
    """The shares as the documentation states them, over the days that the streams keep."""
    weeks = 1 + quota.KEPT_DAYS
    assert weeks * quota.EVENT_QUOTA_BYTES == streams.STREAM_BYTES // 8
    assert weeks * quota.BLOB_QUOTA_BYTES == streams.STREAM_BYTES // 4


@pytest.mark.parametrize("times", [1, 5])
def test_a_line_is_written_at_once_and_then_seldom(times: int) -> None:
    """Each kind by itself, and the next line says how often it happened."""
    throttle = LogThrottle(10.0)
    assert throttle.times("a", 0.0) == 1
    assert [throttle.times("a", 1.0) for _ in range(times)] == [0] * times
    assert throttle.times("b", 1.0) == 1
    assert throttle.times("a", 10.0) == times + 1
