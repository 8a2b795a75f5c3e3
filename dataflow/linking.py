"""One person's accounts on several platforms: what they say to link them, and what they read.

Pure. Linked accounts recall each other's words in their own direct messages, and nowhere else. Two
accounts are linked only if somebody who reads the direct messages of one gave its code to the bot
in the direct messages of the other.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from dataflow.tokens import newest_that_fit
from dataflow.turn import Turn
from shared.messages import Ask

CODE_VALID_FOR: Final = timedelta(minutes=10)

LETTERS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's alphabet: none is mistaken for another. Eight of them have 40 bits."""

CODE_LETTERS: Final = 8

RECALLED_TOKENS: Final = 2_000
"""At most this much of what was said under other accounts is sent with one question."""

_ALIKE: Final = str.maketrans("ILO", "110")
_NEW_CODE: Final = "link accounts"
_UNLINK: Final = "unlink accounts"
_USE_CODE: Final = re.compile(r"link ([0-9a-z]{4})[ -]?([0-9a-z]{4})( yes)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class NewCode:
    """Somebody wants a code for the account in which they ask."""


@dataclass(frozen=True, slots=True)
class UseCode:
    """Somebody has a code of another account. Only a second message links them: `confirmed`."""

    code: str
    confirmed: bool


@dataclass(frozen=True, slots=True)
class Unlink:
    """Somebody wants this account to be linked with no other."""


Command = NewCode | UseCode | Unlink


def command_of(ask: Ask) -> Command | None:
    """What a direct message asks about linked accounts; None: nothing, it is for the model."""
    if ask.place.audience != "direct" or ask.attachments:
        return None
    words = " ".join(ask.text.split()).removeprefix("/").strip("`")
    if words.lower() == _NEW_CODE:
        return NewCode()
    if words.lower() == _UNLINK:
        return Unlink()
    if (found := _USE_CODE.fullmatch(words)) is None:
        return None
    code = (found[1] + found[2]).upper().translate(_ALIKE)
    return UseCode(code, confirmed=found[3] is not None)


def written(code: str) -> str:
    """A code as people read it."""
    return f"{code[:4]}-{code[4:]}"


def code_text(code: str) -> str:
    """The reply to somebody who wants a code."""
    minutes = int(CODE_VALID_FOR.total_seconds() // 60)
    return (
        f"Send me this as a direct message from your other account, within {minutes} minutes:\n\n"
        f"`link {written(code)}`\n\n"
        "Then I recall, in your direct messages with me, what you said under either account. "
        "Give this code to nobody: whoever uses it can ask me for what you said."
    )


def confirmation_text(code: str, account: str) -> str:
    """The reply to a code, before anything is linked."""
    return (
        f"This links your account here with the account `{account}`. Whoever uses that account "
        "can then ask me for everything that you said to me here. If it is yours, send:\n\n"
        f"`link {written(code)} yes`\n\n"
        "If somebody else sent you this code, ignore it."
    )


INVALID: Final = (
    "This code is not valid: it was used already, or it is too old. Send me `link accounts` from "
    "your other account to get a new one."
)
OWN_CODE: Final = (
    "This code is of this account. Send it to me as a direct message from your other account."
)
UNLINKED: Final = "Done: your accounts are no longer linked. Each recalls only its own words."
NOT_LINKED: Final = (
    "This account is not linked with another one. Send me `link accounts` to link one."
)


def linked_text(accounts: Sequence[str]) -> str:
    """The reply once accounts are linked."""
    names = ", ".join(f"`{account}`" for account in accounts)
    return (
        f"Done: this account is linked with {names}. In direct messages with me I now recall what "
        "you said under each of them. `unlink accounts` ends that."
    )


def newest_exchanges(turns: Sequence[Turn], room_tokens: int) -> list[tuple[str, str]]:
    """The newest questions and answers of other accounts that fit, as `data_tags` takes them."""
    costs = [turn.tokens_elsewhere for turn in turns]
    fitting = newest_that_fit(costs, min(room_tokens, RECALLED_TOKENS))
    chosen = turns[len(turns) - fitting :]
    return [(turn.question_elsewhere, turn.answer) for turn in chosen]
