"""One run of a rehearsal: rebuilds requests, asks the candidate, has the judge compare.

Whatever is finished is in the results file before the next question begins.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from dataflow.tokens import Window
from ops.rehearse.asking import Respondent
from ops.rehearse.errors import CapReached
from ops.rehearse.judging import Verdict, begins_with_old, judge_messages, verdict_in
from ops.rehearse.pair import Pair, old_answer
from ops.rehearse.progress import RehearsalProgress
from ops.rehearse.rebuild import Logged, Rebuilt, Skipped, decision_in, rebuilt
from ops.rehearse.results_file import Asked, Choice, Judged, LeftOut, ResultsFile
from ops.rehearse.streams import log_of
from shared.bus import Bus
from shared.prices import Price

QUEUED: Final = 8
"""Rebuilt requests that wait: each may be as large as a context window."""


@dataclass(frozen=True, slots=True)
class Cast:
    """Who takes part: the candidate, and the judge if there is one."""

    candidate: Respondent
    judge: Respondent | None


class Session:
    """A run over the questions that are not finished."""

    def __init__(
        self,
        bus: Bus,
        choice: Choice,
        file: ResultsFile,
        cast: Cast,
        *,
        window: Window,
        prices: dict[str, Price],
        parallel: int,
    ) -> None:
        self._bus = bus
        self._choice = choice
        self._file = file
        self._cast = cast
        self._window = window
        self._prices = prices
        self._parallel = parallel
        self._capped = False
        self._progress: RehearsalProgress | None = None

    @property
    def unfinished(self) -> dict[str, set[str]]:
        """The questions to which something is missing, by user."""
        open_: dict[str, set[str]] = {}
        for chosen in self._choice.chosen:
            if not self._is_finished(chosen.prompt_id):
                open_.setdefault(chosen.user, set()).add(chosen.prompt_id)
        return open_

    async def run(self) -> None:
        """Goes on until everything is finished, or a limit is reached.

        Raises:
            Unusable: an endpoint cannot be asked; in an `ExceptionGroup`.
        """
        unfinished = self.unfinished
        total = len(self._choice.chosen)
        self._progress = RehearsalProgress(total, total - sum(map(len, unfinished.values())))
        queue: asyncio.Queue[Rebuilt | None] = asyncio.Queue(QUEUED)
        with self._progress:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._rebuild(unfinished, queue))
                for _ in range(self._parallel):
                    group.create_task(self._work(queue))

    async def _rebuild(
        self, unfinished: dict[str, set[str]], queue: asyncio.Queue[Rebuilt | None]
    ) -> None:
        for user, wanted in unfinished.items():
            if self._capped:
                break
            log = await log_of(self._bus, user)
            for item in self._of_person(user, log, wanted):
                if isinstance(item, Rebuilt):
                    await queue.put(item)
                else:
                    self._leave_out(item)
        for _ in range(self._parallel):
            await queue.put(None)

    def _of_person(
        self, user: str, log: list[Logged], wanted: set[str]
    ) -> Iterator[Rebuilt | Skipped]:
        if decision_in(log) is False:
            # This decision may be too new to be in the database.
            for prompt_id in sorted(wanted):
                yield Skipped(prompt_id, "the person opted out")
            return
        found = set()
        for item in rebuilt(user, log, wanted, self._window):
            found.add(item.reply.prompt_id if isinstance(item, Rebuilt) else item.prompt_id)
            yield item
        for prompt_id in sorted(wanted - found):  # the streams no longer have it
            yield Skipped(prompt_id, "cannot be rebuilt")

    async def _work(self, queue: asyncio.Queue[Rebuilt | None]) -> None:
        while (item := await queue.get()) is not None:
            if self._capped:
                continue
            try:
                await self._finish(item)
            except CapReached:
                self._capped = True
            else:
                self._show()

    async def _finish(self, item: Rebuilt) -> None:
        prompt_id = item.reply.prompt_id
        pair = self._file.results.pairs.get(prompt_id)
        if pair is None:
            pair = await self._asked(item)
            self._file.add(Asked(pair))
        judge = self._cast.judge
        if judge is not None and is_comparable(pair):
            self._file.add(await _judged(judge, item, pair))

    async def _asked(self, item: Rebuilt) -> Pair:
        ask, reply = item.ask, item.reply
        place = ask.place
        new = await self._cast.candidate.answer(item.messages)
        return Pair(
            prompt_id=reply.prompt_id,
            user=reply.user,
            place="/".join(filter(None, (place.platform, place.space, place.channel))),
            question=ask.text,
            messages=len(item.messages),
            complete=item.complete,
            old=old_answer(reply, self._prices),
            new=new,
        )

    def _leave_out(self, skipped: Skipped) -> None:
        if skipped.prompt_id not in self._file.results.pairs:
            self._file.add(LeftOut(skipped))
        self._show()

    def _show(self) -> None:
        if self._progress is not None:
            self._progress.finished(self._file.results.spent_microdollars)

    def _is_finished(self, prompt_id: str) -> bool:
        results = self._file.results
        if prompt_id in results.left_out:
            return True
        pair = results.pairs.get(prompt_id)
        if pair is None:
            return False
        needs_judge = self._cast.judge is not None and is_comparable(pair)
        return not needs_judge or prompt_id in results.judged


def is_comparable(pair: Pair) -> bool:
    """Whether there are two answers to compare."""
    return "failed" not in {pair.old.outcome, pair.new.outcome}


async def _judged(judge: Respondent, item: Rebuilt, pair: Pair) -> Judged:
    if pair.old.text == pair.new.text:
        return Judged(pair.prompt_id, "tie", "tie", asked=0, cost_microdollars=0)
    old_first = begins_with_old(pair.prompt_id)
    verdicts: list[Verdict] = []
    cost: int | None = 0
    for order in (old_first, not old_first):
        messages = judge_messages(item.messages, pair.old.text, pair.new.text, old_first=order)
        said = await judge.answer(messages)
        failed = said.outcome == "failed"
        verdicts.append("unclear" if failed else verdict_in(said.text, old_first=order))
        known = said.cost_microdollars
        cost = None if cost is None or known is None else cost + known
    first, second = verdicts
    return Judged(pair.prompt_id, first, second, asked=2, cost_microdollars=cost)
