"""How users are divided into partitions: the server does it, when it stores their events.

Pure. The number is chosen when the stream is made. Another one would move users between partitions
and split their conversations, so it is never changed.
"""

import re
from typing import TYPE_CHECKING, Final

from shared import names

if TYPE_CHECKING:
    from nats.js import api

DEFAULT_PARTITIONS: Final = 16

_FNV_OFFSET: Final = 0x811C9DC5
_FNV_PRIME: Final = 0x01000193
_COUNT: Final = re.compile(r"\{\{partition\((\d+)\)\}\}")


class OtherPartitions(Exception):
    """The live prompt stream partitions its users differently: a person has to decide."""

    def __init__(self, live: int | None, transform: str, wanted: int) -> None:
        if live is None:
            found = f"no partitions of this version (transform {transform or 'none'!r})"
            remedy = "Use a server or account that this version has set up."
        else:
            found = f"{live} partitions"
            remedy = (
                f"Set THREADWAX_PARTITIONS={live} or remove it, or start with an empty server and "
                "an empty store of conversations."
            )
        super().__init__(
            f"the stream {names.PROMPTS} on this server has {found}, but {wanted} are wanted. "
            "Another number would move users between partitions and split their conversations. "
            f"{remedy}"
        )
        self.live = live


def transform(partitions: int) -> str:
    """What adds the partition to an event's subject."""
    return names.PARTITION_TRANSFORM.format(partitions)


def partitions_in(transform_of_stream: str) -> int | None:
    """The number of partitions of a stream's transform; None: it is not one of ours."""
    found = _COUNT.search(transform_of_stream)
    if found is None or transform_of_stream != transform(int(found[1])):
        return None
    return int(found[1])


def same_partitions(live: "api.StreamConfig | None", wanted: int | None = None) -> int:
    """The number of partitions of the stream of events, which may not exist yet.

    Raises:
        OtherPartitions: it has another number than `wanted`, or divides users differently.
    """
    if live is None:
        return wanted or DEFAULT_PARTITIONS
    live_transform = live.subject_transform.dest if live.subject_transform else ""
    found = partitions_in(live_transform)
    if found is None or wanted not in {None, found}:
        raise OtherPartitions(found, live_transform, wanted or DEFAULT_PARTITIONS)
    return found


def partition_of(user: str, partitions: int) -> int:
    """The partition in which the server stores this user's events: FNV-1a of 32 bits.

    https://docs.nats.io/nats-concepts/subject_mapping
    """
    found = _FNV_OFFSET
    for byte in names.prompt_subject(user).encode():
        found = (found ^ byte) * _FNV_PRIME & 0xFFFFFFFF
    return found % partitions
