"""The benchmark of hops still finds each function that it watches, and says so if it does not."""

from pathlib import Path

import pytest

from tests.benchmarks import hops


async def test_every_hop_of_every_question_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a function that moved would leave a figure about nothing."""
    monkeypatch.setattr(hops, "QUESTIONS", 3)
    monkeypatch.setattr(hops, "WARM_UP", 1)
    figures = await hops.measure(tmp_path)
    assert [figure.what for figure in figures] == [f"hop, {what}, p50" for *_, what in hops.HOPS]
    assert all(figure.value > 0 for figure in figures), figures


def test_a_hop_that_a_question_did_not_pass_is_reported() -> None:
    stamps = {"q0": {"source": 1.0, "sink": 2.0}, "q1": {"source": 1.0}}
    with pytest.raises(hops.NotStamped, match="flow: 1 of 2 questions did not pass 'sink'"):
        hops._median_ms("flow", stamps, "source", "sink")
