"""The sentence that tells people why their question has no answer yet.

Pure.
"""

from typing import Final, Literal

from dataflow.model.errors import Why

Queued = Literal["thread", "limit"]
"""The question has to wait for an earlier one of its thread, or because of the limit per user."""

Waiting = Why | Queued | Literal["slow", "fallback", "thinking", "pictures", "earlier"]

_KEEP_TRYING: Final = "I keep trying for up to {time}."

_SENTENCES: Final[dict[Waiting, str]] = {
    "thread": "Your question is in the queue. I am still answering the one before it.",
    "limit": "Your question is in the queue. I am still answering your other questions.",
    "slow": "My language model has not begun to answer yet. I am still waiting for it.",
    "fallback": "My usual language model does not answer. I am waiting for another one.",
    "thinking": "My language model is thinking about its answer.",
    "pictures": "Many people are sending me pictures at the moment. Your question is in the queue.",
    "earlier": "I am still finishing an earlier answer to this question.",
    "unreachable": f"I cannot reach my language model at the moment. {_KEEP_TRYING}",
    "stalled": f"My language model stopped responding. {_KEEP_TRYING}",
    "overloaded": f"My language model is overloaded. {_KEEP_TRYING}",
}
_OTHERWISE: Final = f"My language model has a problem at the moment. {_KEEP_TRYING}"

MINUTE_S: Final = 60
TWO_MINUTES_S: Final = 120


def sentence(waiting: Waiting, give_up_after_s: float) -> str:
    """The sentence for a reason."""
    text = _SENTENCES.get(waiting, _OTHERWISE)
    return text.format(time=in_words(give_up_after_s))


def in_words(seconds: float) -> str:
    """A duration in everyday language."""
    whole = round(seconds)
    if whole == MINUTE_S:
        return "a minute"
    if whole == MINUTE_S * 1.5:
        return "a minute and a half"
    if whole < TWO_MINUTES_S:
        return f"{whole} second{'' if whole == 1 else 's'}"
    return f"{round(seconds / MINUTE_S)} minutes"
