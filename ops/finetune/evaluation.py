"""Asks a model the held-out questions, with and without its adapter."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import torch

from ops.finetune.encoding import IGNORED, Encoded, question_tokens
from ops.finetune.scores import Scores, scores_of

BATCH: Final = 8
ANSWER_TOKENS_LIMIT: Final = 200
_ROOM: Final = 2
"""A model may use this many times the tokens of the expected answer, and some more."""

_SPARE_TOKENS: Final = 16


def evaluated(
    model: Any,
    tokenizer: Any,
    held_out: Sequence[Encoded],
    system: str,
    answered: Callable[[], None],
) -> Scores:
    """The scores of a model; calls `answered` after each question. Takes seconds per question."""
    model.eval()
    with torch.inference_mode():
        loss = _loss(model, held_out)
        answers = []
        for batch in _batches(held_out):
            answers += _answers(model, tokenizer, batch, system)
            for _ in batch:
                answered()
    return scores_of([each.example for each in held_out], answers, loss=loss)


def _batches(held_out: Sequence[Encoded]) -> Iterator[Sequence[Encoded]]:
    return (held_out[start : start + BATCH] for start in range(0, len(held_out), BATCH))


def _loss(model: Any, held_out: Sequence[Encoded]) -> float:
    """The mean negative log-likelihood per token of the expected answers, in nats."""
    total, count = 0.0, 0
    for each in held_out:
        tokens = torch.tensor([each.tokens], device=model.device)
        labels = torch.tensor([each.labels], device=model.device)
        learned = sum(label != IGNORED for label in each.labels[1:])
        total += float(model(input_ids=tokens, labels=labels).loss) * learned
        count += learned
    return total / count


def _answers(model: Any, tokenizer: Any, batch: Sequence[Encoded], system: str) -> list[str]:
    questions = [question_tokens(each.example, tokenizer, system) for each in batch]
    longest = max(len(question) for question in questions)
    padding = tokenizer.pad_token_id
    ends = model.generation_config.eos_token_id
    answer_tokens = [
        len(each.tokens) - len(question) for each, question in zip(batch, questions, strict=True)
    ]
    made = model.generate(
        input_ids=torch.tensor(
            [[padding] * (longest - len(each)) + each for each in questions], device=model.device
        ),
        attention_mask=torch.tensor(
            [[0] * (longest - len(each)) + [1] * len(each) for each in questions],
            device=model.device,
        ),
        do_sample=False,
        max_new_tokens=min(ANSWER_TOKENS_LIMIT, _ROOM * max(answer_tokens) + _SPARE_TOKENS),
        pad_token_id=padding,
        eos_token_id=ends if ends is not None else tokenizer.eos_token_id,
    )
    found: list[str] = tokenizer.batch_decode(made[:, longest:], skip_special_tokens=True)
    return [answer.strip() for answer in found]
