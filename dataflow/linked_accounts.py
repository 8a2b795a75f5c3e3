"""The accounts with which one user's account is linked, and what they recall for a question.

Pure. It must never give turns to an account that is not linked here, whatever that one believes.
"""

from collections.abc import Iterable

from dataflow.effects import Link, Recall, Recalled
from dataflow.linking import command_of
from dataflow.pending import Pending
from dataflow.turn import Turn
from shared.messages import Linked, Unlinked


class LinkedAccounts:
    """The links of one user. With `enabled` false, links are kept and not used."""

    def __init__(self, accounts: Iterable[str] = (), *, enabled: bool = False) -> None:
        self.accounts = tuple(accounts)
        self._enabled = enabled
        # By question; empty until it is looked up.
        self._recalled: dict[str, tuple[Turn, ...]] = {}

    def link(self, event: Linked) -> None:
        """Adds accounts."""
        new = (one for one in event.accounts if one not in self.accounts and one != event.user)
        self.accounts += tuple(new)

    def unlink(self, event: Unlinked) -> None:
        """Removes accounts."""
        self.accounts = tuple(one for one in self.accounts if one not in event.accounts)

    def command(self, pending: Pending) -> Link | None:
        """What a question asks about linked accounts; None: it is for the model."""
        command = command_of(pending.ask) if self._enabled else None
        if command is None:
            return None
        pending.state = "linking"
        return Link(pending.ask, command, self.accounts)

    def recall(self, pending: Pending) -> Recall | None:
        """Asks the linked accounts what they recall; None: nothing is to be awaited."""
        ask = pending.ask
        if not self._enabled or not self.accounts or ask.place.audience != "direct":
            return None
        if ask.id in self._recalled:
            return None
        self._recalled[ask.id] = ()
        pending.state = "recalling"
        return Recall(ask.user, ask.id, self.accounts)

    def known_to(self, account: str, turns: Iterable[Turn]) -> tuple[Turn, ...]:
        """What another account may know of these turns: nothing unless it is linked here."""
        may_know = self._enabled and account in self.accounts
        return tuple(turn for turn in turns if turn.answer) if may_know else ()

    def on_recalled(self, answer: Recalled) -> bool:
        """Keeps what the accounts recall; returns whether it was asked for."""
        if answer.prompt_id not in self._recalled:
            return False
        self._recalled[answer.prompt_id] = answer.turns
        return True

    def recalled(self, prompt_id: str) -> tuple[Turn, ...]:
        """What was recalled for a question."""
        return self._recalled.get(prompt_id, ())

    def forget(self) -> None:
        """Forgets all links: the other accounts are told."""
        self.accounts = ()

    def drop(self, prompt_id: str) -> None:
        """Ends a question."""
        self._recalled.pop(prompt_id, None)
