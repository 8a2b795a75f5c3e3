"""When the model counts as away: only after a minute in which every call failed."""

import pytest

from dataflow.model.errors import ModelError
from dataflow.model.health import FAILED_FOR_S, STALE_AFTER_S, ModelHealth


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> ModelHealth:
    return ModelHealth(clock)


def test_nothing_is_known_before_the_first_call(health: ModelHealth) -> None:
    assert (health.trouble, health.failing_s, health.is_failing) == ("", 0.0, False)


def test_calls_that_fail_for_a_minute_are_trouble(health: ModelHealth, clock: Clock) -> None:
    assert health.failed("unreachable")
    clock.now += FAILED_FOR_S - 1
    assert not health.failed("overloaded")
    assert health.trouble == ""
    assert health.failing_s == FAILED_FOR_S - 1
    clock.now += 1
    assert health.trouble == "every call of the model has failed for 60 s: overloaded"


def test_one_answer_ends_the_trouble(health: ModelHealth, clock: Clock) -> None:
    health.failed("unreachable")
    clock.now += FAILED_FOR_S
    assert health.answered()
    assert (health.trouble, health.failing_s) == ("", 0.0)
    assert not health.answered()
    assert health.failed("unreachable")
    assert health.trouble == ""


def test_a_failure_of_long_ago_says_nothing(health: ModelHealth, clock: Clock) -> None:
    health.failed("unreachable")
    clock.now += STALE_AFTER_S + 1
    assert (health.trouble, health.failing_s) == ("", 0.0)
    # The next failure begins a new minute.
    assert health.failed("unreachable")
    assert health.failing_s == 0.0


def test_a_refused_question_says_nothing_about_the_model(health: ModelHealth) -> None:
    with pytest.raises(ModelError), health.observed():
        raise ModelError("refused", "content policy")
    assert not health.is_failing


def test_a_wrong_key_counts_although_nobody_retries(health: ModelHealth, clock: Clock) -> None:
    with pytest.raises(ModelError), health.observed():
        raise ModelError("bad key", "401")
    clock.now += FAILED_FOR_S
    assert health.trouble.endswith("bad key")
