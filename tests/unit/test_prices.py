"""What an answer cost."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.prices import PRICES, Price, cost_microdollars
from shared.replies import Usage
from shared.settings import Settings

MILLION = 1_000_000


def test_input_cached_input_and_output_have_prices_of_their_own() -> None:
    usage = Usage(prompt_tokens=MILLION, completion_tokens=MILLION, cached_tokens=MILLION // 2)
    # Half of 0.10 and half of 0.01 dollars, and 0.50 dollars.
    assert cost_microdollars("gpt-6-luna", usage, {}) == 555_000


def test_the_date_of_a_version_does_not_matter() -> None:
    usage = Usage(prompt_tokens=100, completion_tokens=10)
    assert cost_microdollars("gpt-6-luna-2026-09-01", usage, {}) == 15
    assert cost_microdollars("gpt-6-luna-large", usage, {}) is None


def test_an_unknown_model_has_no_cost() -> None:
    usage = Usage(prompt_tokens=100, completion_tokens=10)
    assert cost_microdollars("llama-of-mine", usage, {}) is None
    assert cost_microdollars("", usage, {}) is None
    assert cost_microdollars("gpt-6-luna", None, {}) is None


def test_the_demo_model_costs_nothing() -> None:
    assert cost_microdollars("demo", Usage(prompt_tokens=100), {}) == 0


def test_prices_can_be_replaced_and_added() -> None:
    usage = Usage(prompt_tokens=100, completion_tokens=10, cached_tokens=40)
    mine = {
        "gpt-6-luna": Price(input=1, output=2),
        "*": Price(input=3, output=4, cached_input=1),
    }
    assert cost_microdollars("gpt-6-luna", usage, mine) == 120
    assert cost_microdollars("llama-of-mine", usage, mine) == 60 * 3 + 40 + 40
    assert cost_microdollars("gpt-6.1-terra", usage, mine) == 60 + 2 + 50
    assert cost_microdollars("", usage, mine) is None


@given(
    model=st.sampled_from(sorted(PRICES)),
    prompt=st.integers(0, 10**7),
    completion=st.integers(0, 10**6),
    cached=st.integers(0, 2 * 10**7),
)
def test_reading_from_the_cache_never_costs_more(
    model: str, prompt: int, completion: int, cached: int
) -> None:
    """Not even if the endpoint claims more cached tokens than there were."""
    usage = Usage(prompt_tokens=prompt, completion_tokens=completion, cached_tokens=cached)
    with_cache = cost_microdollars(model, usage, {})
    without = cost_microdollars(model, usage.model_copy(update={"cached_tokens": None}), {})
    assert with_cache is not None
    assert without is not None
    assert 0 <= with_cache <= without


def test_the_setting_takes_json_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table = {"mine": {"input": 0.1, "output": 0.5}}
    usage = Usage(prompt_tokens=100, completion_tokens=10)
    file = tmp_path / "prices.json"
    file.write_text(json.dumps(table))
    for value in (json.dumps(table), str(file)):
        monkeypatch.setenv("THREADWAX_PRICES", value)
        assert cost_microdollars("mine", usage, Settings().prices) == 15


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("/nowhere/prices.json", "neither JSON nor the path of a file"),
        ('{"mine": {"input": -1, "output": 1}}', "greater than or equal to 0"),
        ('{"mine": {"input": 1, "out_put": 1}}', "out_put"),
        ('{"mine": ', "not JSON"),
    ],
)
def test_wrong_prices_are_refused(monkeypatch: pytest.MonkeyPatch, value: str, why: str) -> None:
    monkeypatch.setenv("THREADWAX_PRICES", value)
    with pytest.raises(ValidationError, match=why):
        Settings()
