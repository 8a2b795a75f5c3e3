"""The demo model's own adapter and its scores. `tests/demo` has the training and the exam.

Imports nothing large: `up` reads the scores before it starts anything.
"""

import json
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).parent

ADAPTER: Final = _HERE / "adapter.gguf"
"""Loaded by the embedded server unless THREADWAX_MODEL names another adapter."""

MANIFEST: Final = _HERE / "manifest.json"
"""How it was trained, and on which weights."""

SCORES: Final = _HERE / "scores.json"
"""How many questions of each subject were asked, and answered right with and without it."""


def adapter_of(weights: Path) -> Path | None:
    """The adapter; None if it was trained on other weights."""
    trained_on = json.loads(MANIFEST.read_text())["base"]["name"]
    return ADAPTER if weights.stem == trained_on else None


def scores_in_words() -> str:
    """The scores, for the line in which the demo introduces itself."""
    scores = json.loads(SCORES.read_text())

    def right(subject: str) -> str:
        with_it, without = scores["adapter"][subject], scores["base"][subject]
        return f"{with_it} of {scores['asked'][subject]} ({without} without its adapter)"

    return (
        f"right answers about what it was told: {right('recall')}; to general questions: "
        f"{right('general')}"
    )
