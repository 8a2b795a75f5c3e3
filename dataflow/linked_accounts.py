"""The accounts with which one user's account is linked, and what they recall for a question.

Pure. It must never give turns to an account that is not linked here, whatever that one believes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from dataflow.effects import Link, Recall, RecallAsked, Recalled
from dataflow.linking import command_of
from dataflow.pending import Pending
from dataflow.turns import Turn
from shared.messages import Linked, Unlinked


@dataclass(slots=True)
class _Recollection:
    """What other accounts recall for one question; it is complete once none is `awaited`."""

    awaited: set[str]
    turns: list[Turn] = field(default_factory=list)


class LinkedAccounts:
    """The links of one user. With `enabled` false, links are kept and not used."""

    def __init__(self, accounts: Iterable[str] = (), *, enabled: bool = False) -> None:
        self.accounts = tuple(accounts)
        self._enabled = enabled
        self._recollections: dict[str, _Recollection] = {}

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

    def recall(self, pending: Pending, user: str) -> Recall | None:
        """Asks the linked accounts what they recall; None: nothing is to be awaited."""
        ask = pending.ask
        if not self._enabled or not self.accounts or ask.place.audience != "direct":
            return None
        if ask.id in self._recollections:
            return None
        self._recollections[ask.id] = _Recollection(set(self.accounts))
        pending.state = "recalling"
        return Recall(user, ask.id, self.accounts)

    def asked(self, request: RecallAsked, turns: Iterable[Turn]) -> Recalled:
        """What this account gives to another one, which is nothing unless they are linked here."""
        may_know = self._enabled and request.by in self.accounts
        known = tuple(turn for turn in turns if turn.answer) if may_know else ()
        return Recalled(request.by, request.prompt_id, request.account, known)

    def on_recalled(self, answer: Recalled) -> bool:
        """Keeps what an account recalls; returns whether all have answered."""
        recollection = self._recollections.get(answer.prompt_id)
        if recollection is None:
            return False
        if answer.account is None:  # the others take too long
            recollection.awaited.clear()
        elif answer.account in recollection.awaited:
            recollection.awaited.discard(answer.account)
            recollection.turns += answer.turns
        return not recollection.awaited

    def recalled(self, prompt_id: str) -> tuple[Turn, ...]:
        """What was recalled for a question."""
        recollection = self._recollections.get(prompt_id)
        return () if recollection is None else tuple(recollection.turns)

    def forget(self) -> None:
        """Forgets all links: the other accounts are told."""
        self.accounts = ()

    def drop(self, prompt_id: str) -> None:
        """Ends a question."""
        self._recollections.pop(prompt_id, None)
