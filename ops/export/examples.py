"""Training examples in OpenAI's formats: chats to imitate, and pairs of answers to compare.

Pure. The formats are documented at
https://developers.openai.com/api/docs/guides/supervised-fine-tuning and
https://developers.openai.com/api/docs/guides/direct-preference-optimization.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dataflow.model.answer_notes import is_cut_off
from ops.export.selection import unusable
from ops.export.turns import History, Turn

Message = dict[str, Any]
Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to one question; the second one is worse."""

    preferred: str
    rejected: str


def chat_line(turn: Turn, context: Sequence[Turn]) -> Line:
    """The conversation up to a turn, whose answer, or its correction, is to be learned.

    Earlier answers have weight 0: each is learned from a line of its own.
    """
    answer = turn.correction or turn.plain_answer
    return {"messages": [*_asked(turn, context, weight=0), _assistant(answer)]}


def preference_line(turn: Turn, context: Sequence[Turn], pair: Pair) -> Line:
    """The conversation up to a question, and a better and a worse answer to it."""
    return {
        "input": {"messages": _asked(turn, context)},
        "preferred_output": [_assistant(pair.preferred)],
        "non_preferred_output": [_assistant(pair.rejected)],
    }


def pairs_of(history: History, turn: Turn) -> Iterator[Pair]:
    """The pairs in which the answer of a turn is the worse one.

    The better one is its correction, or another answer to the same words that was rated up.
    """
    if unusable(turn) is not None:
        return
    rejected = turn.plain_answer
    found: list[str] = []
    if turn.correction:
        found.append(turn.correction)
    if turn.rating is not None and turn.rating.thumb == "down":
        found += [
            other.plain_answer
            for other in history.versions(turn)
            if other.rating is not None
            and other.rating.thumb == "up"
            and other.question == turn.question
            and unusable(other) is None
            and not is_cut_off(other.answer or "")
        ]
    for preferred in dict.fromkeys(found):
        if preferred.strip() and preferred != rejected:
            yield Pair(preferred, rejected)


def _asked(turn: Turn, context: Sequence[Turn], weight: int | None = None) -> list[Message]:
    messages: list[Message] = []
    if turn.persona and turn.persona.strip():
        messages.append({"role": "system", "content": turn.persona})
    for earlier in context:
        answer = _assistant(earlier.plain_answer)
        messages += [_user(earlier), answer if weight is None else answer | {"weight": weight}]
    return [*messages, _user(turn)]


def _user(turn: Turn) -> Message:
    return {"role": "user", "content": turn.question or ""}


def _assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}
