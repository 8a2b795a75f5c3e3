"""The real dataflow with a model call that only waits, to measure everything but the model.

Run as `flow_without_model DELAY_S CHARS`.
"""

import asyncio
import sys
from typing import Any

from dataflow.model.client import Completion, ModelClient
from ops import cli


def main(delay_s: float, chars: int) -> None:
    """Runs the dataflow's command. Its model answers after `delay_s` with `chars` characters."""
    text = "ok" * (chars // 2)

    async def answer(_: ModelClient, __: Any, *, on_text: Any, **___: Any) -> Completion:
        if delay_s:
            await asyncio.sleep(delay_s)
        on_text(text)
        return Completion(text, "none", None)

    ModelClient.answer = answer  # type: ignore[method-assign]
    sys.argv = ["threadwax", "dataflow"]
    cli.main()


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
