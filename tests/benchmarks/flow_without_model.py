"""The project's flow with a model that answers at once, to measure the way and nothing else."""

import sys
from typing import Any

from dataflow import run
from dataflow.model_client import Completion, ModelClient
from shared.settings import Settings


async def _at_once(_: ModelClient, __: Any, *, model: Any, on_text: Any) -> Completion:
    del model
    on_text("ok")
    return Completion("ok", "none", None)


if __name__ == "__main__":
    ModelClient.answer = _at_once  # type: ignore[method-assign]
    sys.exit(run.main(Settings()))
