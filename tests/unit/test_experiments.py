"""Experiments: who takes part, what wins over them, and wrong settings."""

import json
import math
import random

import pytest
from pydantic import ValidationError

from dataflow.tokens import Window, message_tokens
from dataflow.variants import Variants, window_with
from shared.experiments import Experiment, experiment_of, position_of
from shared.settings import Settings
from tests.running import question

PEOPLE = [f"slack:T1_2EU{random.Random(18).getrandbits(64) + number}" for number in range(20_000)]


def experiment(name: str = "terra", percent: float = 10, **fields: str) -> Experiment:
    return Experiment(name=name, percent=percent, **(fields or {"model": "other"}))


@pytest.mark.parametrize("percent", [0.5, 10, 50, 99])
@pytest.mark.parametrize("name", ["a", "terra", "new-prompt"])
def test_the_share_is_right(percent: float, name: str) -> None:
    """Within four standard deviations of the binomial distribution."""
    chosen = sum(experiment(name, percent).has(user) for user in PEOPLE)
    expected = len(PEOPLE) * percent / 100
    assert abs(chosen - expected) <= 4 * math.sqrt(expected * (1 - percent / 100))


def test_everybody_takes_part_in_an_experiment_of_all() -> None:
    assert all(experiment(percent=100).has(user) for user in PEOPLE)


def test_a_person_stays_in_a_group_forever() -> None:
    """These values must never change: people would move between groups during an experiment."""
    assert [round(position_of(user, "terra"), 6) for user in ("slack:a", "discord:b")] == [
        0.148389, 0.500612,
    ]  # fmt: skip


def test_a_larger_share_keeps_the_people_of_the_smaller_one() -> None:
    small, large = experiment(percent=10), experiment(percent=20)
    assert all(large.has(user) for user in PEOPLE if small.has(user))


def test_groups_of_different_experiments_are_independent() -> None:
    one, other = experiment("one", 50), experiment("other", 50)
    both = sum(one.has(user) and other.has(user) for user in PEOPLE)
    assert abs(both - len(PEOPLE) / 4) <= 4 * math.sqrt(len(PEOPLE) * 3 / 16)


def test_the_first_experiment_that_has_a_person_counts() -> None:
    one, other = experiment("one", 50), experiment("other", 100)
    for user in PEOPLE[:200]:
        assert experiment_of(user, (one, other)) is (one if one.has(user) else other)
    assert experiment_of("slack:a", ()) is None


@pytest.mark.parametrize(
    ("changes", "place", "applies"),
    [
        ({"model": "other"}, {}, True),
        ({"model": "other"}, {"persona": "A pirate."}, True),
        ({"model": "other"}, {"model": "own"}, False),
        ({"base_url": "http://127.0.0.1:1/v1"}, {"model": "own"}, False),
        ({"prompt": "Be brief."}, {"persona": "A pirate."}, False),
        ({"prompt": "Be brief."}, {"model": "own"}, True),
        ({"prompt": "Be brief.", "model": "other"}, {"model": "own"}, False),
        ({"prompt": "Be brief.", "model": "other"}, {"persona": "A pirate."}, False),
    ],
)
def test_personas_and_models_of_places_win(
    changes: dict[str, str], place: dict[str, str], applies: bool
) -> None:
    one = experiment(percent=100, **changes)
    yields = one.yields_to(persona=place.get("persona"), model=place.get("model"))
    assert yields is not applies


def test_without_experiments_the_usual_model_is_asked() -> None:
    assert Variants().of(question("ada", 1, "Hello?")) is None


def test_a_long_prompt_takes_its_room_from_the_window() -> None:
    window = Window(4096, 1024, "You are helpful.")
    long = "Be brief. " * 200
    narrow = window_with(window, [experiment(prompt=long), experiment("b", prompt="Hi")])
    assert narrow.context_tokens == 4096 - (
        message_tokens(long) - message_tokens("You are helpful.")
    )
    assert window_with(window, [experiment()]) is window


def settings(value: object, **others: str) -> Settings:
    env = {"OPENAI_API_KEY": "k", **others}
    return Settings(THREADWAX_EXPERIMENTS=json.dumps(value), **env)  # type: ignore[arg-type]


def test_one_experiment_or_a_list_can_be_set() -> None:
    one = {"name": "a", "percent": 5, "model": "m"}
    assert settings(one).experiments == settings([one]).experiments
    found = settings([one, {"name": "b", "percent": 5, "prompt": "Be brief."}]).experiments
    assert [each.name for each in found] == ["a", "b"]


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({"name": "a", "percent": 5}, "it changes nothing"),
        ({"name": "a", "percent": 0, "model": "m"}, "greater than 0"),
        ({"name": "a", "percent": 101, "model": "m"}, "less than or equal to 100"),
        ({"name": "a b", "percent": 5, "model": "m"}, "pattern"),
        ({"name": "a", "percent": 5, "model": "m", "tempo": 1}, "not permitted"),
        ({"name": "a", "percent": 5, "model": "m", "api_key": "s3cret"}, "needs a base_url"),
        ([{"name": "a", "percent": 5, "model": "m"}] * 2, "the same name"),
        ({"name": "a", "percent": 5, "model": "local:mine"}, "adapter of the embedded model"),
    ],
)
def test_a_wrong_experiment_is_explained(value: object, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint) as failed:
        settings(value)
    assert "s3cret" not in str(failed.value.errors(include_input=False))


def test_the_embedded_server_has_no_other_models() -> None:
    with pytest.raises(ValidationError, match="does not have"):
        Settings(THREADWAX_EXPERIMENTS='{"name": "a", "percent": 5, "model": "m"}')  # type: ignore[arg-type]
    mine = '{"name": "a", "percent": 5, "model": "local:mine"}'
    assert Settings(THREADWAX_EXPERIMENTS=mine).experiments[0].model == "local:mine"  # type: ignore[arg-type]
