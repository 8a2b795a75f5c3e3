"""The project's flow with a model call that only waits, to measure the way and nothing else.

Run as `flow_without_model DELAY_S CHARS`.
"""

import asyncio
import sys
from typing import Any

from dataflow import run
from dataflow.model_client import Completion, ModelClient
from shared.settings import Settings


def main(delay_s: float, chars: int) -> int:
    """The flow's own main, whose model answers after `delay_s`."""
    text = "ok" * (chars // 2)

    async def answer(_: ModelClient, __: Any, *, model: Any, on_text: Any) -> Completion:
        del model
        if delay_s:
            await asyncio.sleep(delay_s)
        on_text(text)
        return Completion(text, "none", None)

    ModelClient.answer = answer  # type: ignore[method-assign]
    return run.main(Settings())


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2])))
