"""Which examples are held out of the training, to evaluate it. Pure.

The choice depends on each conversation alone, so a file that grows keeps its held-out examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ops.finetune.chat_file import Example

HELD_OUT_SHARE: Final = 0.1

HELD_OUT_AT_LEAST: Final = 5
"""Fewer say little about a model; small files give up at most a fifth of their examples."""

_SMALL_SHARE: Final = 5
_SCALE: Final = 16**8


@dataclass(frozen=True, slots=True)
class Split:
    """The examples to train on and those to evaluate on, each in the order of the file."""

    trained: tuple[Example, ...]
    held_out: tuple[Example, ...]


def split(examples: Sequence[Example], share: float = HELD_OUT_SHARE) -> Split:
    """Holds out about this share of the conversations, from 0 to 1.

    Conversations that differ in their answer only are held out together.
    """
    digests = sorted({example.digest for example in examples})
    by_share = sum(int(digest[:8], 16) < share * _SCALE for digest in digests)
    at_least = min(HELD_OUT_AT_LEAST, len(digests) // _SMALL_SHARE) if share else 0
    chosen = frozenset(digests[: max(by_share, at_least)])
    return Split(
        tuple(example for example in examples if example.digest not in chosen),
        tuple(example for example in examples if example.digest in chosen),
    )
