"""Compares answers with the expected ones. Pure."""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from ops.finetune.chat_file import Example

_WORD: Final = re.compile(r"\w+")
_LARGEST_EXPONENT: Final = 700.0
"""math.exp overflows a little above."""


@dataclass(frozen=True, slots=True)
class Scores:
    """How well a model answers the held-out questions.

    `perplexity` (1 or more) of the expected answers: less is better. `exact` answers have the
    expected words and no others; `right` answers contain them. Case and punctuation do not count.
    """

    asked: int
    perplexity: float
    exact: int
    right: int

    def as_dict(self) -> dict[str, float]:
        """The scores for a manifest."""
        return asdict(self)


def scores_of(examples: Sequence[Example], answers: Sequence[str], *, loss: float) -> Scores:
    """The scores of answers to the last questions of examples, in the same order.

    `loss` is the mean negative log-likelihood per token of the expected answers, in nats.
    """
    pairs = list(zip(examples, answers, strict=True))
    return Scores(
        asked=len(pairs),
        perplexity=math.exp(min(loss, _LARGEST_EXPONENT)),
        exact=sum(is_exact(example, answer) for example, answer in pairs),
        right=sum(is_right(example, answer) for example, answer in pairs),
    )


def is_exact(example: Example, answer: str) -> bool:
    """Whether an answer has the words of the expected one and no others."""
    return _words(answer) == _words(example.answer)


def is_right(example: Example, answer: str) -> bool:
    """Whether an answer contains all that the example expects: by default its whole answer."""
    said = f" {' '.join(_words(answer))} "
    wanted = example.expect or (example.answer,)
    return all(f" {' '.join(_words(text))} " in said for text in wanted)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold()) or text.split()  # an emoji has no word characters
