"""How users are divided into partitions: the server does it, when it stores their events.

Pure. The number is chosen when the stream is made. Another one would move users between partitions
and split their conversations, so it is never changed.
"""

import re
from typing import Final

from shared import names

DEFAULT_PARTITIONS: Final = 16

_FNV_OFFSET: Final = 0x811C9DC5
_FNV_PRIME: Final = 0x01000193
_COUNT: Final = re.compile(r"\{\{partition\((\d+)\)\}\}")


def transform(partitions: int) -> str:
    """What adds the partition to an event's subject."""
    return names.PARTITION_TRANSFORM.format(partitions)


def partitions_in(transform_of_stream: str) -> int | None:
    """The number of partitions of a stream's transform; None: it is not one of ours."""
    found = _COUNT.search(transform_of_stream)
    if found is None or transform_of_stream != transform(int(found[1])):
        return None
    return int(found[1])


def partition_of(user: str, partitions: int) -> int:
    """The partition in which the server stores this user's events: FNV-1a of 32 bits.

    https://docs.nats.io/nats-concepts/subject_mapping
    """
    found = _FNV_OFFSET
    for byte in names.prompt_subject(user).encode():
        found = (found ^ byte) * _FNV_PRIME & 0xFFFFFFFF
    return found % partitions
