"""Turns conversations into tokens, and marks those that a training learns from.

Opens no file; a tokenizer of transformers is passed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ops.finetune.chat_file import Example, Message
from ops.finetune.errors import BadInput

IGNORED: Final = -100
"""The label of tokens that are not learned, by convention of transformers."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A conversation in tokens: `labels` has the token, or `IGNORED`, for each of `tokens`."""

    example: Example
    tokens: list[int]
    labels: list[int]

    @property
    def features(self) -> dict[str, list[int]]:
        """The fields that transformers trains on."""
        return {
            "input_ids": self.tokens,
            "attention_mask": [1] * len(self.tokens),
            "labels": self.labels,
        }


def messages_of(messages: Sequence[Message], system: str) -> list[dict[str, str]]:
    """Messages for a chat template; begins with `system` unless they have a system message."""
    listed = [{"role": message.role, "content": message.content} for message in messages]
    if messages and messages[0].role == "system":
        return listed
    return [{"role": "system", "content": system}, *listed]


def encoded(example: Example, tokenizer: Any, system: str) -> Encoded:
    """A conversation in tokens; every answer without weight 0 is learned, with its end mark.

    Raises:
        BadInput: the template changes earlier messages when a later one follows.
    """
    listed = messages_of(example.messages, system)
    added = len(listed) - len(example.messages)
    tokens = _tokens(listed, tokenizer)
    labels = [IGNORED] * len(tokens)
    for position, message in enumerate(example.messages, start=added):
        if not message.trained:
            continue
        before = _tokens(listed[:position], tokenizer, to_answer=True)
        through = _tokens(listed[: position + 1], tokenizer)
        if tokens[: len(through)] != through or through[: len(before)] != before:
            raise BadInput(
                "the chat template of this base model changes earlier messages when another "
                "follows, so its answers cannot be told apart: choose another base model"
            )
        labels[len(before) : len(through)] = tokens[len(before) : len(through)]
    return Encoded(example, tokens, labels)


def question_tokens(example: Example, tokenizer: Any, system: str) -> list[int]:
    """The tokens of a conversation up to its last answer, which the model is to give."""
    return _tokens(messages_of(example.messages[:-1], system), tokenizer, to_answer=True)


def _tokens(
    messages: list[dict[str, str]], tokenizer: Any, *, to_answer: bool = False
) -> list[int]:
    found: list[int] = tokenizer.apply_chat_template(
        messages, tokenize=True, return_dict=False, add_generation_prompt=to_answer
    )
    return found
