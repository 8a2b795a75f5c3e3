"""Asks every process all the time whether it is ready, as an orchestrator does."""

import asyncio
import itertools
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Final, Self

from shared.tasks import end
from tests.hosts.deployment import Deployment
from tests.hosts.parts import Ours
from tests.hosts.people import Wait

EVERY_S: Final = 0.5


@dataclass(frozen=True)
class Said:
    """What a process that runs said at one moment."""

    at: float
    is_ready: bool
    why: str


class Watch:
    """What all processes have said about themselves."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self.said: dict[str, list[Said]] = defaultdict(list)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        await end(self._task)

    async def _run(self) -> None:
        while True:
            await asyncio.gather(*(self._ask(one) for one in self._deployment.ours))
            await asyncio.sleep(EVERY_S)

    async def _ask(self, one: Ours) -> None:
        if not one.is_running:
            return
        is_ready, why = await asyncio.to_thread(one.ready)
        if one.is_running:  # otherwise it ended before it could answer
            self.said[one.name].append(Said(time.monotonic(), is_ready, why))

    async def until_all_ready(self, within_s: float) -> None:
        """Returns when every process has said that it is ready."""
        start = time.monotonic()
        while waiting := {
            one.name for one in self._deployment.ours if not self._is_ready(one, start)
        }:
            lately = {name: self.said[name][-3:] for name in waiting}
            assert time.monotonic() - start < within_s, f"not ready: {lately}"
            await asyncio.sleep(0.1)

    def _is_ready(self, one: Ours, since: float) -> bool:
        said = self.said[one.name]
        return bool(said) and said[-1].at >= since and said[-1].is_ready

    def claimed_ready_s(self, name: str, start: float, until: float) -> float:
        """How long after `start` a process still said that it was ready."""
        said = [s.at for s in self.said[name] if start <= s.at <= until and s.is_ready]
        return max(said, default=start) - start

    def unreported_s(self, waits: list[Wait]) -> float:
        """The longest part of a wait during which all processes said that they were ready."""
        bad = sorted(s.at for said in self.said.values() for s in said if not s.is_ready)
        longest = 0.0
        for wait in waits:
            inside = [at for at in bad if wait.asked_at <= at <= wait.answered_at]
            edges = [wait.asked_at, *inside, wait.answered_at]
            longest = max(longest, *(b - a for a, b in itertools.pairwise(edges)))
        return longest
