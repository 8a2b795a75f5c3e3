"""How many tokens a text takes, and how much fits into a model's context window.

Pure. It loads no tokenizer, which would have to be downloaded: the estimate is corrected by the
usage that replies report.
"""

import math
from dataclasses import dataclass
from typing import Final

CHARS_PER_TOKEN: Final = 4
"""English text in common tokenizers; a character outside ASCII counts as a token of its own."""

FIRST_RATIO: Final = 1.3
"""The ratio of counted to estimated tokens before any usage was reported: a margin."""

RATIO_BOUNDS: Final = (0.5, 4.0)
"""A reported usage outside these bounds is taken for a provider's mistake."""

RATIO_WEIGHT: Final = 0.3
"""How far one report moves the ratio towards its own."""

MESSAGE_OVERHEAD_TOKENS: Final = 8
"""Role and separators of one chat message in common templates."""

IMAGE_TOKENS: Final = 800
"""An image in a request: vision models document between 85 and 1,500."""


@dataclass(frozen=True, slots=True)
class Window:
    """A model's context window, and the default persona.

    `summaries`: old turns may be summarized, if the window is large enough.
    """

    context_tokens: int
    answer_tokens: int
    system_prompt: str
    summaries: bool = False

    def room(self, ratio: float) -> int:
        """The estimated tokens of the largest request, given counted tokens per estimated one."""
        return int((self.context_tokens - self.answer_tokens) / ratio)


def estimated_tokens(text: str) -> int:
    """The tokens of a text, not corrected by the ratio."""
    ascii_chars = len(text) if text.isascii() else sum(c.isascii() for c in text)
    return math.ceil(ascii_chars / CHARS_PER_TOKEN + len(text) - ascii_chars)


def message_tokens(text: str) -> int:
    """The estimated tokens of a chat message with this text."""
    return estimated_tokens(text) + MESSAGE_OVERHEAD_TOKENS


def corrected_ratio(ratio: float, *, estimated: int, counted: int) -> float:
    """The ratio of counted to estimated tokens after one more report."""
    if estimated <= 0 or counted <= 0:
        return ratio
    low, high = RATIO_BOUNDS
    seen = min(max(counted / estimated, low), high)
    return ratio + RATIO_WEIGHT * (seen - ratio)


def newest_that_fit(costs: list[int], room: int) -> int:
    """How many of the newest (last) costs fit into `room` together, without a gap."""
    fitting = 0
    for cost in reversed(costs):
        room -= cost
        if room < 0:
            break
        fitting += 1
    return fitting


def newest_in_steps(costs: list[int], room: int, step: int) -> int:
    """Like `newest_that_fit`, but the first one that is kept changes only once per `step` tokens.

    So a text made from them keeps its beginning while it grows at its end.
    """
    over = sum(costs) - room
    if over <= 0:
        return len(costs)
    over = math.ceil(over / step) * step
    left_out = 0
    while left_out < len(costs) and over > 0:
        over -= costs[left_out]
        left_out += 1
    return len(costs) - left_out or newest_that_fit(costs, room)
