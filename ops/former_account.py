"""Moves the streams of an older version to the account in which they are now."""

import secrets
from collections.abc import Callable
from pathlib import Path

from ops import nats_config


def move_former_account(folder: Path, say: Callable[[str], None]) -> None:
    """Call it before the server starts on this folder; does nothing if there is nothing to move.

    `say` tells people about streams that are not used any more.

    It is a single rename, so a crash cannot leave the streams in between. If both accounts have
    streams, because someone restored an older version's folder, that one is set aside: the server
    would not become healthy with both.
    """
    accounts = folder / "js" / "jetstream"
    former, now = accounts / nats_config.FORMER_ACCOUNT, accounts / nats_config.ACCOUNT
    if not former.is_dir():
        return
    if now.exists():
        aside = folder / f"older-version-{secrets.token_hex(4)}"
        former.rename(aside)
        say(
            "this folder has messages of an older version of threadwax in addition to those of "
            f"this version. The older ones are not used; they were moved to {aside}"
        )
        return
    former.rename(now)
