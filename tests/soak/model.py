"""The process with the soak's model. It streams its answers, and sometimes fails as models do."""

import asyncio
import random
import sys
from collections import Counter
from typing import Any, Final

from aiohttp import web

from tests.chaos.model import asked_about, question_of
from tests.fakes.model import FakeModel, Fault
from tests.soak.users import run
from tests.soak.words import AT_LENGTH, answer_text

PIECE_CHARS: Final = 60
PAUSE_S: Final = 0.15
DELAY_S: Final = (0.2, 1.5)
FAULTS: Final[dict[str, tuple[float, Fault]]] = {
    "429": (0.01, Fault(status=429, headers={"Retry-After": "2"})),
    "500": (0.01, Fault(status=500)),
    "cut before the first word": (0.005, Fault(kind="cut")),
    "cut during the answer": (0.005, Fault(kind="cut", after_chunks=3)),
}
"""Faults, and the share of calls that get them."""


class SoakModel(FakeModel):
    """Gives the same answer to the same question each time. Keeps no requests."""

    def __init__(self, seed: int) -> None:
        super().__init__(piece_chars=PIECE_CHARS, pause_s=PAUSE_S, keep_requests=False)
        self.reply = _reply
        self._rng = random.Random(seed)
        self.counts: Counter[str] = Counter()

    async def _complete(self, http: web.Request) -> web.StreamResponse:
        self.counts["calls"] += 1
        self.delay_s = self._rng.uniform(*DELAY_S)
        draw = self._rng.random()
        for name, (share, fault) in FAULTS.items():
            if 0 <= draw < share:
                self.counts[name] += 1
                self.faults.append(fault)
            draw -= share
        return await super()._complete(http)


class ControlledModel:
    """Starts the model, and reports the number of calls and of failures."""

    def __init__(self, model: SoakModel) -> None:
        self._model = model

    async def start(self, **_: str) -> dict[str, str]:
        await self._model.start()
        return {"OPENAI_BASE_URL": self._model.base_url}

    async def status(self) -> dict[str, int]:
        return self._model.counts


def _reply(request: dict[str, Any]) -> str:
    messages = request["messages"]
    return answer_text(asked_about(messages), long=AT_LENGTH in question_of(messages))


if __name__ == "__main__":
    asyncio.run(run(ControlledModel(SoakModel(int(sys.argv[1]))), sys.argv[2:]))
