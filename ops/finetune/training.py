"""Trains a LoRA adapter with the Trainer of transformers, and continues an interrupted training.

Ctrl-C stores a checkpoint after the step in progress; anything harsher loses the steps since the
last checkpoint.
"""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

import torch
import transformers
from peft import LoraConfig, get_peft_model

from ops.finetune import checkpoints
from ops.finetune.adapters import Hyperparameters
from ops.finetune.encoding import IGNORED, Encoded
from ops.finetune.errors import Interrupted
from ops.finetune.progress import Step, TrainingProgress

SAVE_AT_LEAST_EVERY: Final = 50
"""Steps between checkpoints, if an epoch has more."""

CHECKPOINTS_KEPT: Final = 2
_WARM_UP_STEPS: Final = 5


@dataclass(frozen=True, slots=True)
class Loaded:
    """A base model and its tokenizer."""

    model: Any
    tokenizer: Any


def use_threads(threads: int | None) -> None:
    """Limits how many cores the computation uses; None: all of them."""
    if threads is not None:
        torch.set_num_threads(threads)


def loaded(folder: Path) -> Loaded:
    """Loads a model from a folder, in full precision; takes seconds."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True
    )
    return Loaded(model, tokenizer)


def trained(
    base: Loaded, examples: Sequence[Encoded], chosen: Hyperparameters, folder: Path, name: str
) -> Any:
    """Trains an adapter of the base model; returns the model of peft.

    Args:
        base: is changed.
        examples: what to learn from.
        chosen: how.
        folder: holds the checkpoints; a training that was interrupted there is continued.
        name: of the adapter, for the progress bar.

    Raises:
        Interrupted: by Ctrl-C or SIGTERM; a checkpoint was stored.
    """
    transformers.set_seed(chosen.seed)  # the adapter begins with random numbers
    model = get_peft_model(
        base.model,
        LoraConfig(
            r=chosen.rank,
            lora_alpha=chosen.alpha,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
    )
    steps = -(-len(examples) // chosen.batch_size)
    with TrainingProgress(name) as progress, _stop_requests() as requests:
        trainer = transformers.Trainer(
            model=model,
            args=transformers.TrainingArguments(
                output_dir=str(folder),
                num_train_epochs=chosen.epochs,
                per_device_train_batch_size=chosen.batch_size,
                learning_rate=chosen.learning_rate,
                lr_scheduler_type="linear",
                warmup_steps=min(_WARM_UP_STEPS, steps),
                weight_decay=0.0,
                max_grad_norm=1.0,
                seed=chosen.seed,
                save_strategy="steps",
                save_steps=min(steps, SAVE_AT_LEAST_EVERY),
                save_total_limit=CHECKPOINTS_KEPT,
                logging_steps=1,
                include_num_input_tokens_seen="non_padding",
                remove_unused_columns=False,
                dataloader_pin_memory=torch.cuda.is_available(),
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=[each.features for each in examples],
            data_collator=transformers.DataCollatorForSeq2Seq(
                base.tokenizer, label_pad_token_id=IGNORED
            ),
            callbacks=[_Steps(progress, requests)],
        )
        trainer.remove_callback(transformers.PrinterCallback)
        start = checkpoints.newest(folder)
        trainer.train(resume_from_checkpoint=None if start is None else str(start))
        if requests and trainer.state.global_step < trainer.state.max_steps:
            raise Interrupted(
                f"stopped after step {trainer.state.global_step} of {trainer.state.max_steps}; "
                "the same command continues from there"
            )
    return model


class _Steps(transformers.TrainerCallback):  # type: ignore[misc]  # Any without the extra
    def __init__(self, progress: TrainingProgress, requests: list[int]) -> None:
        self._progress = progress
        self._requests = requests
        self._tokens = 0

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        self._tokens = state.num_input_tokens_seen

    def on_step_end(self, _args: Any, _state: Any, control: Any, **_: Any) -> None:
        if self._requests:
            control.should_save = True
            control.should_training_stop = True

    def on_save(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
        checkpoints.mark_complete(Path(args.output_dir) / f"checkpoint-{state.global_step}")

    def on_log(
        self, _args: Any, state: Any, _control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if logs and "loss" in logs:
            tokens = state.num_input_tokens_seen - self._tokens
            self._tokens = state.num_input_tokens_seen
            self._progress.step(
                Step(state.global_step, state.max_steps, float(logs["loss"]), int(tokens))
            )


@contextmanager
def _stop_requests() -> Iterator[list[int]]:
    """Collects the first Ctrl-C or SIGTERM; a second one ends the process at once."""
    requests: list[int] = []

    def request(number: int, _: FrameType | None) -> None:
        requests.append(number)
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
