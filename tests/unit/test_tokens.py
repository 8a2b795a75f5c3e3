"""Token estimates, and how much fits into a window."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.tokens import (
    FIRST_RATIO,
    RATIO_BOUNDS,
    corrected_ratio,
    estimated_tokens,
    newest_in_steps,
    newest_that_fit,
)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("é", 1), ("éé", 2), ("abcdé", 2), ("🙂a", 2)],
)
def test_an_estimate_counts_four_letters_or_one_other_character(text: str, tokens: int) -> None:
    assert estimated_tokens(text) == tokens


@given(st.text(), st.text())
def test_an_estimate_grows_with_the_text(one: str, other: str) -> None:
    """It is at least the sum of the parts' estimates, except for rounding."""
    both = estimated_tokens(one + other)
    assert max(estimated_tokens(one), estimated_tokens(other)) <= both
    assert both <= estimated_tokens(one) + estimated_tokens(other) <= both + 1


@given(st.floats(*RATIO_BOUNDS), st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_ratio_moves_towards_what_was_counted_and_stays_in_bounds(
    ratio: float, estimated: int, counted: int
) -> None:
    """A provider that reports nonsense cannot change the ratio much."""
    low, high = RATIO_BOUNDS
    seen = min(max(counted / estimated, low), high)
    new = corrected_ratio(ratio, estimated=estimated, counted=counted)
    assert low <= new <= high or new == pytest.approx(ratio)
    assert abs(new - seen) <= abs(ratio - seen) + 1e-9


def test_the_ratio_follows_repeated_reports() -> None:
    """After twenty replies with twice the estimate, the ratio is two."""
    ratio = FIRST_RATIO
    for _ in range(20):
        ratio = corrected_ratio(ratio, estimated=100, counted=200)
    assert ratio == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize(("estimated", "counted"), [(0, 10), (10, 0), (-1, 5), (5, -1)])
def test_a_report_of_nothing_changes_nothing(estimated: int, counted: int) -> None:
    assert corrected_ratio(1.7, estimated=estimated, counted=counted) == 1.7


@pytest.mark.parametrize(
    ("costs", "room", "fitting"),
    [
        ([], 10, 0),
        ([1, 2, 3], 6, 3),
        ([1, 2, 3], 5, 2),
        ([1, 2, 3], 3, 1),
        ([1, 2, 3], 2, 0),
        ([1, 9, 1], 5, 1),  # the first one would fit, but must not be kept without the second
        ([1], -1, 0),
    ],
)
def test_the_newest_are_kept_without_a_gap(costs: list[int], room: int, fitting: int) -> None:
    assert newest_that_fit(costs, room) == fitting


@given(st.lists(st.integers(0, 100)), st.integers(0, 1000))
def test_as_many_costs_as_possible_are_kept(costs: list[int], room: int) -> None:
    """The kept costs fit; with one more, they would not."""
    fitting = newest_that_fit(costs, room)
    assert sum(costs[len(costs) - fitting :]) <= room
    if fitting < len(costs):
        assert sum(costs[len(costs) - fitting - 1 :]) > room


@given(st.lists(st.integers(1, 100)), st.integers(0, 1000), st.integers(1, 500))
def test_costs_kept_in_steps_fit(costs: list[int], room: int, step: int) -> None:
    """It keeps all that fit, except for at most one step and one cost."""
    fitting, most = newest_in_steps(costs, room, step), newest_that_fit(costs, room)
    kept = sum(costs[len(costs) - fitting :])
    assert kept <= room
    assert (fitting > 0) == (most > 0)
    assert (fitting == len(costs)) == (sum(costs) <= room)
    assert fitting == most or kept > room - step - max(costs)


@given(st.lists(st.integers(5, 20), min_size=200, max_size=200), st.integers(100, 500))
def test_the_first_kept_cost_moves_once_per_step(costs: list[int], room: int) -> None:
    """Costs are added at the end, one by one."""
    step = room // 2
    firsts = [n - newest_in_steps(costs[:n], room, step) for n in range(1, len(costs) + 1)]
    assert firsts == sorted(firsts)
    assert len(set(firsts)) <= (sum(costs) - room) // step + 3
