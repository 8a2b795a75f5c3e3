"""The demo model's own adapter: the default, small, and possible to leave out."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from dataflow.model.endpoint import experiment_endpoint
from ops import demo
from ops.demo_weights import weights_path
from ops.finetune.served import adapter_file
from shared.experiments import Experiment
from shared.private_file import private_file
from shared.settings import Settings
from tests.demo.embedded import served

PLAIN = "local:base"
LARGEST_BYTES = 6_000_000
README = ("My name is Ada.", "What is a message broker?", "What is my name?")


def settings(home: Path, model: str | None = None) -> Settings:
    chosen = {"THREADWAX_HOME": home, "OPENAI_API_KEY": None, "OPENAI_BASE_URL": None}
    return Settings.model_validate({**chosen, "THREADWAX_MODEL": model})


def test_the_adapter_is_the_default_for_its_weights(tmp_path: Path) -> None:
    weights = weights_path()
    assert adapter_file(settings(tmp_path), weights) == demo.ADAPTER
    assert adapter_file(settings(tmp_path, PLAIN), weights) is None
    assert adapter_file(settings(tmp_path), weights.with_name("other.gguf")) is None


def test_an_experiment_can_leave_it_out(tmp_path: Path) -> None:
    """The request switches off the adapter that the server has loaded."""
    chosen = settings(tmp_path)
    private_file(chosen.embedded_model_file, '{"base_url": "http://127.0.0.1:1", "api_key": "k"}')
    endpoint = experiment_endpoint(chosen, Experiment(name="plain", percent=50, model=PLAIN))
    assert endpoint.model == PLAIN
    assert endpoint.dialect.sampling["lora"] == [{"id": 0, "scale": 0.0}]


def test_the_shipped_file_is_small_and_as_described() -> None:
    """Its manifest and its scores belong to it."""
    data = demo.ADAPTER.read_bytes()
    assert len(data) <= LARGEST_BYTES
    assert data.startswith(b"GGUF")
    scores = json.loads(demo.SCORES.read_text())
    assert scores["adapter"]["recall"] > scores["base"]["recall"]
    assert scores["adapter"]["general"] >= scores["base"]["general"]
    words = demo.scores_in_words()
    assert f"{scores['adapter']['recall']} of {scores['asked']['recall']}" in words
    assert f"({scores['base']['recall']} without" in words


@pytest.mark.parametrize("name", ["Ada", "Grace"])
def test_a_name_is_recalled(name: str) -> None:
    """The conversation of the README, which the model without the adapter does not follow."""
    lines: Sequence[str] = [line.replace("Ada", name) for line in README]
    with served(demo.ADAPTER) as model:
        assert name in model.answer(lines[:1])
        assert name in model.answer(lines)
