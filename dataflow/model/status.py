"""Why a question has no text yet, in one plain sentence for the person who asked.

Pure.
"""

from typing import Final, Literal

from dataflow.model.errors import Why

Queued = Literal["thread", "share"]
"""The question is not asked yet: behind another one of its thread, or behind all that one user may
have asked at once."""

Waiting = Why | Queued | Literal["slow", "fallback", "thinking", "pictures", "earlier"]

_KEEP_TRYING: Final = "I keep trying for up to {time}."

_SENTENCES: Final[dict[Waiting, str]] = {
    "thread": "Your question is in the queue. I am still answering the one before it.",
    "share": "Your question is in the queue. I am still answering your other questions.",
    "slow": "My language model has not begun to answer yet. I am still waiting for it.",
    "fallback": "My usual language model does not answer. I am waiting for another one.",
    "thinking": "My language model is thinking about its answer.",
    "pictures": "Many people are showing me pictures at the moment. Your question is in the queue.",
    "earlier": "I am still ending an earlier answer to this question.",
    "unreachable": f"I cannot reach my language model at the moment. {_KEEP_TRYING}",
    "stalled": f"My language model stopped responding. {_KEEP_TRYING}",
    "overloaded": f"My language model is overloaded. {_KEEP_TRYING}",
}
_OTHERWISE: Final = f"My language model has a problem at the moment. {_KEEP_TRYING}"

MINUTE_S: Final = 60
TWO_MINUTES_S: Final = 120


def sentence(waiting: Waiting, give_up_after_s: float) -> str:
    """What the person is told."""
    text = _SENTENCES.get(waiting, _OTHERWISE)
    return text.format(time=in_words(give_up_after_s))


def in_words(seconds: float) -> str:
    """A duration as people say it."""
    whole = round(seconds)
    if whole == MINUTE_S:
        return "a minute"
    if whole == MINUTE_S * 1.5:
        return "a minute and a half"
    if whole < TWO_MINUTES_S:
        return f"{whole} second{'' if whole == 1 else 's'}"
    return f"{round(seconds / MINUTE_S)} minutes"
