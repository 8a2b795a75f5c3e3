"""A person's own data, as a file or for a page: an adapter requests it from the recorder.

An adapter may ask only for people of its own platform: the server's permissions see to that.
"""

import json
from datetime import datetime
from typing import Any, Final

from shared import names
from shared.bus import Bus
from shared.figures import OwnUsage, Range
from shared.pieces import ANSWER_BYTES, PIECE_BYTES, WITHIN_S, NotNow, pieces_of, requested

__all__ = ["LIMIT_BYTES", "PIECE_BYTES", "NotNow", "own_history", "pieces_of"]

LIMIT_BYTES: Final = ANSWER_BYTES
"""The largest file: Discord takes 10 MiB from a bot."""

TURNS: Final = b"turns"
"""The body of a request for the newest questions as JSON; an empty one is for the file.

Any other body is a `Range`, and asks for the person's usage.
"""

SHARED: Final = b"shared "
"""Followed by the hash of a link's token, the body of a request for what the link shows."""

TURNS_LIMIT: Final = 500
"""The newest questions that a page gets."""

HISTORY_LIMIT: Final = 20_000
"""The most questions in it."""


def file_name(now: datetime) -> str:
    """What the file is called."""
    return f"threadwax-{now:%Y-%m-%d-%H%M%S}.md"


async def own_history(bus: Bus, user: str, *, within_s: float = WITHIN_S) -> bytes:
    """What the recorder has of a user, as Markdown in UTF-8; empty if it has nothing.

    Raises:
        NotNow: it cannot be read now.
    """
    return await requested(bus, names.history_subject(user), b"", within_s=within_s)


async def own_turns(bus: Bus, user: str, *, within_s: float = WITHIN_S) -> dict[str, Any]:
    """The newest questions of a user with their answers, and the titles of conversations.

    `{"entries": [...], "titles": {...}, "shares": {...}}`, as `shared.database` has them, oldest
    first.

    Raises:
        NotNow: it cannot be read now.
    """
    data = await requested(bus, names.history_subject(user), TURNS, within_s=within_s)
    found: dict[str, Any] = json.loads(data)
    return found


async def shared_turns(
    bus: Bus, user: str, token_hash: str, *, within_s: float = WITHIN_S
) -> dict[str, Any] | None:
    """What somebody else's link shows to this user; None: nothing (`shared.database.sharing`).

    Raises:
        NotNow: it cannot be read now.
    """
    wanted = SHARED + token_hash.encode()
    data = await requested(bus, names.history_subject(user), wanted, within_s=within_s)
    found: dict[str, Any] | None = json.loads(data)
    return found


async def own_usage(bus: Bus, user: str, wanted: Range, *, within_s: float = WITHIN_S) -> OwnUsage:
    """What a user asked, and what it used and cost.

    Raises:
        NotNow: it cannot be read now.
    """
    data = await requested(bus, names.history_subject(user), wanted.wire(), within_s=within_s)
    return OwnUsage.model_validate_json(data)
