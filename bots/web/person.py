"""What this process knows of one person: written by the event loop, read by scripts in threads.

It must never hold a lock while it waits for anything but a change.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from bots.web.turns import Growing, Turn, completed
from shared.recent import RecentSet

TURNS_LIMIT: Final = 500
"""The newest turns that are kept in memory; the database has the others."""


@dataclass(frozen=True, slots=True)
class View:
    """A consistent copy. `settled` changes with everything but the text of a growing answer."""

    turns: dict[str, Turn]
    titles: dict[str, str]
    shares: dict[str, str]
    """What this person's links show, by the hashes of their tokens."""

    settled: int


class Person:
    """One person's turns and titles."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._turns: dict[str, Turn] = {}
        self._titles: dict[str, str] = {}
        self._shares: dict[str, str] = {}
        self._version = 0
        self._settled = 0
        self._dropped: RecentSet[str] = RecentSet(TURNS_LIMIT)
        self.is_loaded = False
        """Whether earlier conversations were ever read from the database."""
        self.is_outdated = True
        """Whether the database has, or may have, what is missing here."""
        self.read_again_at = 0.0
        """Not before this time of the event loop's clock."""

    def view(self) -> View:
        """What there is now."""
        with self._changed:
            return View(dict(self._turns), dict(self._titles), dict(self._shares), self._settled)

    def turn(self, prompt_id: str) -> Turn | None:
        """One turn, if it is known."""
        with self._changed:
            return self._turns.get(prompt_id)

    def put(self, turn: Turn) -> None:
        """Adds or replaces a turn."""
        with self._changed:
            before = self._turns.get(turn.id)
            grows = (
                before is not None
                and isinstance(before.answer, Growing)
                and isinstance(turn.answer, Growing)
            )
            self._turns[turn.id] = turn
            if len(self._turns) > TURNS_LIMIT:
                oldest = min(self._turns.values(), key=lambda one: one.said_at)
                del self._turns[oldest.id]
            self._note(settled=not grows)

    def drop(self, prompt_ids: Iterable[str]) -> None:
        """Removes turns."""
        with self._changed:
            for prompt_id in prompt_ids:
                self._turns.pop(prompt_id, None)
                self._dropped.add(prompt_id)
            self._note(settled=True)

    def rename(self, conversation: str, title: str) -> None:
        """Gives a conversation a title; empty: the one it has by itself."""
        with self._changed:
            self._titles[conversation] = title
            self._note(settled=True)

    def share(self, token_hash: str, target: str) -> None:
        """Adds a link; with an empty target, the link is revoked."""
        with self._changed:
            self._shares[token_hash] = target
            self._note(settled=True)

    def load(self, turns: Iterable[Turn], titles: dict[str, str], shares: dict[str, str]) -> None:
        """Adds what the database has; what this process has seen is newer."""
        with self._changed:
            before = self._turns, self._titles, self._shares, self.is_loaded
            read = {turn.id: turn for turn in turns if turn.id not in self._dropped}
            known = self._turns.items()
            self._turns = read | {id_: completed(turn, read.get(id_)) for id_, turn in known}
            self._titles = titles | self._titles
            self._shares = shares | self._shares
            self.is_loaded, self.is_outdated = True, False
            if before != (self._turns, self._titles, self._shares, True):
                self._note(settled=True)

    def outdate(self) -> None:
        """Has the database read again, since something that it may have is missing here."""
        with self._changed:
            if not self.is_outdated:
                self.is_outdated = True
                self._note(settled=True)

    def forget(self) -> None:
        """Removes everything; the database may have it for some moments longer."""
        with self._changed:
            for prompt_id in self._turns:
                self._dropped.add(prompt_id)
            self._turns, self._titles, self._shares = {}, {}, {}
            self._note(settled=True)

    def wait(self, seen: int, timeout_s: float) -> int:
        """Waits until there is a version other than `seen`; returns the newest."""
        with self._changed:
            self._changed.wait_for(lambda: self._version != seen, timeout_s)
            return self._version

    def _note(self, *, settled: bool) -> None:
        self._version += 1
        self._settled += settled
        self._changed.notify_all()


People = Callable[[str], Person]
