"""One user's summaries: which one is being made, when to try again, and what they cost.

Pure. Only one is made at a time. It must never be kept if one of its turns was deleted, edited or
reset in the meantime.
"""

from collections.abc import Callable, Iterable
from typing import Final

from dataflow.audience import may_recall, same_thread
from dataflow.effects import Summarize, Summarized
from dataflow.history import History
from dataflow.question_queue import thread_key
from dataflow.request import Request
from dataflow.retention import Kept
from dataflow.summary import (
    AGAIN_AFTER,
    FOLD_AT,
    TEXT_SHARE,
    TEXT_TOKENS_LIMIT,
    Fold,
    Summary,
    digest,
    digests,
    fills_memory,
    instruction,
    is_possible,
    messages,
    oldest,
    oldest_day,
    source,
)
from dataflow.thread_starts import ThreadStarts
from dataflow.tokens import Window, message_tokens
from dataflow.turn import Turn
from dataflow.turns import Turns
from shared.messages import Place
from shared.replies import BackgroundCall, Journaled

UNREPORTED_LIMIT: Final = 8
"""Background calls that wait for a reply to report them. Older ones are only in the metrics."""


class Summaries:
    """The summaries of one user's threads, which are stored in their `starts`."""

    def __init__(
        self,
        window: Window,
        turns: Turns,
        starts: ThreadStarts,
        unreported: Iterable[BackgroundCall] = (),
    ) -> None:
        self._window = window
        self._turns = turns
        self._starts = starts
        self.is_possible = is_possible(window)
        self._fold: Fold | None = None
        """The turns that are being summarized."""
        self._is_outdated = False
        """Whether the result must be dropped."""
        self._growth_needed: dict[str, int] = {}
        """By thread, tokens that must be said before the next attempt."""
        self.unreported = list(unreported)
        """Calls that no reply has reported yet."""
        self._reported_by: str | None = None

    def usable_in(self, place: Place) -> Summary | None:
        """The summary of this thread, if its readers may hear it."""
        summary = self._starts.summary_in(place)
        if summary is None or not self.is_possible or not may_recall(summary.place, place):
            return None
        return summary

    # --- making one -------------------------------------------------------------------------

    def may_be_due(self, turn: Turn, request: Request) -> bool:
        """Whether a new turn may make a summary due: a quick check, made for every answer."""
        if self._growth_needed:
            thread = thread_key(turn.place)
            left = self._growth_needed.pop(thread, 0) - turn.tokens
            if left > 0:
                self._growth_needed[thread] = left
                return False
        tokens = request.estimated_tokens + turn.tokens
        if tokens > request.room * FOLD_AT or self._turns.nearly_full:
            return True
        if not self._starts.by_thread:
            return False
        summary = self._starts.summary_in(turn.place)
        until = summary.until if summary is not None else 0
        return self._starts.first_in(turn.place) > until + 1

    def begin(self, place: Place, ratio: float) -> Summarize | None:
        """Begins a summary in this thread, if one is wanted and none is being made."""
        is_too_early = thread_key(place) in self._growth_needed
        if not self.is_possible or self._fold is not None or is_too_early:
            return None
        newest = self._turns.newest_in(place)
        if newest is None:
            return None
        here, persona = newest.place, newest.persona or self._window.system_prompt
        stored, start = self._starts.summary_in(place), self._starts.first_in(place)
        history = History(self._turns, here, stored.until + 1 if stored is not None else 0)
        summary = self.usable_in(here)
        room = self._window.room(ratio)
        limit = min(TEXT_TOKENS_LIMIT, int(room * TEXT_SHARE))
        head = message_tokens(persona) + (summary.tokens if summary is not None else 0)
        left = room - head - message_tokens(instruction(limit))
        unsent = sum(turn.order < start for turn in history.kept)
        fold = source(history.kept[:unsent], left)
        if not fold and self._is_full(history, unsent, room - head, room):
            fold = source(oldest(history.kept[unsent:], history.costs()[unsent:]), left)
        if not fold:
            return None
        before = summary if summary is not None and summary.place == fold[0].place else None
        is_all_unsent = unsent > 0 and fold[-1] is history.kept[unsent - 1]
        until = start - 1 if is_all_unsent else fold[-1].order
        growth_needed = int(room * AGAIN_AFTER)
        self._fold = Fold(
            fold[0].place, digests(fold), until, before, limit, growth_needed,
            oldest_day(fold, before),
        )  # fmt: skip
        self._is_outdated = False
        return Summarize(self._fold, messages(persona, before, fold, limit), newest.model)

    def _is_full(self, history: History, unsent: int, left: int, room: int) -> bool:
        """Whether the thread nearly fills its room, or the memory together with other threads."""
        if sum(history.costs()[unsent:]) > left - room * (1 - FOLD_AT):
            return True
        return self._turns.nearly_full and fills_memory(history.kept)

    def end(self, result: Summarized) -> bool:
        """Ends a summary; returns whether the turns are to be summarized again at once."""
        if result.call is not None:
            self.unreported = [*self.unreported, result.call][-UNREPORTED_LIMIT:]
        fold = self._fold
        if result.fold is not fold or fold is None:
            return False  # the conversation was evicted in the meantime
        self._fold = None
        if self._is_outdated:
            return True
        if result.outcome == "skipped":
            return False
        summary = fold.summary(result.text) if result.outcome == "written" else None
        if summary is None:
            self._growth_needed[thread_key(fold.place)] = fold.growth_needed
        else:
            self._starts.add(summary, fold.before)
            self._turns.forget_data_before(self._starts.first_in(fold.place), fold.place)
        return False

    # --- what is deleted --------------------------------------------------------------------

    def withdraw(self, prompt_id: str, place: Place, *, is_known: bool) -> bool:
        """Drops the summaries that cover a question; returns whether there are any.

        `is_known`: the question is still remembered or pending, so a summary without its id does
        not cover it.
        """
        if self._fold is None and not self._starts.by_thread:
            return False
        name = digest(prompt_id)

        def covers(summary: Summary) -> bool:
            may_cover = summary.has_older and not is_known and same_thread(summary.place, place)
            return name in summary.covers or may_cover

        withdrawn = self._withdraw(covers)
        if self._fold is not None and name in self._fold.covers:
            self._is_outdated = withdrawn = True
        return withdrawn

    def withdraw_places(self, chosen: Callable[[Place], bool]) -> None:
        """Drops the summaries of places."""
        self._withdraw(lambda summary: chosen(summary.place))
        if self._fold is not None and chosen(self._fold.place):
            self._is_outdated = True

    def forget_older(self, kept: Kept) -> None:
        """Drops summaries with turns of earlier days.

        A summary of an older version has no day, and gets that of the oldest turn in memory.
        """
        days = (turn.day for turn in self._turns if turn.day is not None)
        self._starts.date_summaries(min(days, default=kept.today))
        self._withdraw(lambda summary: summary.day is not None and summary.day < kept.since)
        if self._fold is not None and self._fold.day is not None:
            self._is_outdated = self._is_outdated or self._fold.day < kept.since

    def _withdraw(self, chosen: Callable[[Summary], bool]) -> bool:
        places = self._starts.withdraw(chosen)
        fold = self._fold
        if fold is not None and any(same_thread(place, fold.place) for place in places):
            self._is_outdated = True  # it continues a summary that is gone
        return bool(places)

    # --- what they cost ---------------------------------------------------------------------

    def report(self, prompt_id: str) -> tuple[BackgroundCall, ...]:
        """The calls that the reply to this question reports. Another one gets none of them."""
        if not self.unreported or self._reported_by not in {None, prompt_id}:
            return ()
        self._reported_by = prompt_id
        return tuple(self.unreported)

    def reported(self, journaled: Journaled) -> None:
        """Records what a reply has reported, and lets another one report what is left."""
        for call in journaled.reply.background:
            if call in self.unreported:
                self.unreported.remove(call)
        if self._reported_by == journaled.reply.prompt_id:
            self._reported_by = None
