"""Quotas: each holder has a separate one, which refills over a day."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import quota, streams
from shared.log_throttle import LogThrottle
from shared.quota import Quotas

TAKES = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 120), st.floats(0, 50)), max_size=40
)


def test_a_quota_is_used_up_and_refills_evenly() -> None:
    quotas = Quotas(100, refill_s=10)
    assert quotas.take("ada", 100, 0.0)
    assert not quotas.take("ada", 1, 0.0)
    assert quotas.take("ada", 10, 1.0)
    assert not quotas.take("ada", 1, 1.0)
    assert quotas.take("ada", 100, 11.0)


def test_a_refused_amount_is_not_deducted() -> None:
    quotas = Quotas(100)
    assert not quotas.take("ada", 101, 0.0)
    assert quotas.take("ada", 100, 0.0)


def test_an_amount_that_was_not_stored_is_given_back() -> None:
    quotas = Quotas(100)
    assert quotas.take("ada", 100, 0.0)
    quotas.give_back("ada", 100, 0.0)
    assert quotas.take("ada", 100, 0.0)
    quotas.give_back("ada", 1000, 0.0)
    assert not quotas.take("ada", 101, 0.0), "a quota is never exceeded"


@given(TAKES)
def test_nobody_gets_more_than_the_quota_and_its_refill(
    takes: list[tuple[str, int, float]],
) -> None:
    quotas, now, taken = Quotas(100, refill_s=10), 0.0, dict.fromkeys("abc", 0)
    for holder, amount, passed in takes:
        now += passed
        if quotas.take(holder, amount, now):
            taken[holder] += amount
    assert all(amount <= 100 + now * 10 + 1e-6 for amount in taken.values())


@given(TAKES)
def test_other_holders_do_not_affect_a_quota(takes: list[tuple[str, int, float]]) -> None:
    alone, together, now = Quotas(100, refill_s=10), Quotas(100, refill_s=10), 0.0
    for holder, amount, passed in takes:
        now += passed
        granted = together.take(holder, amount, now)
        if holder == "a":
            assert granted == alone.take(holder, amount, now)


def test_memory_is_bounded_and_forgets_the_holder_idle_longest() -> None:
    quotas = Quotas(100, holders_limit=3)
    for holder in "abcd":
        assert quotas.take(holder, 100, 0.0)
    assert len(quotas) == 3
    assert quotas.take("a", 100, 0.0)
    assert not quotas.take("d", 1, 0.0)


def test_holders_with_a_full_quota_are_not_remembered() -> None:
    quotas = Quotas(100, refill_s=10)
    for number in range(100):
        assert quotas.take(str(number), 1, float(number))
    assert len(quotas) <= 2


def test_one_user_gets_an_eighth_of_the_events_and_a_quarter_of_the_files() -> None:
    """These are the documented quotas, over the days that the streams keep messages."""
    weeks = 1 + quota.KEPT_DAYS
    assert weeks * quota.EVENT_QUOTA_BYTES == streams.STREAM_BYTES // 8
    assert weeks * quota.BLOB_QUOTA_BYTES == streams.STREAM_BYTES // 4


@pytest.mark.parametrize("times", [1, 5])
def test_a_line_is_logged_at_once_and_then_rarely(times: int) -> None:
    """This is separate for each kind of line; the next line says how often it happened."""
    throttle = LogThrottle(10.0)
    assert throttle.times("a", 0.0) == 1
    assert [throttle.times("a", 1.0) for _ in range(times)] == [0] * times
    assert throttle.times("b", 1.0) == 1
    assert throttle.times("a", 10.0) == times + 1
