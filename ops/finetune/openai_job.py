"""`threadwax finetune openai`: uploads conversations to OpenAI, starts a job there, and follows it.

Uploads nothing before a person has agreed. The uploaded file is deleted when the job has ended.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import click
import openai
from openai.types.fine_tuning import FineTuningJob

from ops.finetune.chat_file import ChatFile
from ops.finetune.errors import BadInput, JobFailed

NOTICE: Final = (
    "OpenAI is closing its fine-tuning service: it refuses organizations that had not used it by "
    "2026-05-07, and accepts no new jobs after 2027-01-06. This uploads every conversation in the "
    "file to OpenAI, which charges for the training. `threadwax finetune local` trains on this "
    "machine instead."
)
"""The dates are those of https://developers.openai.com/api/docs/deprecations."""

EXAMPLES_AT_LEAST: Final = 10
"""OpenAI refuses a job with fewer."""

TIMEOUT_S: Final = 60.0
ENDED: Final = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Order:
    """What the job is to train; `suffix` becomes part of the model's name."""

    model: str
    suffix: str | None
    epochs: int | None
    seed: int | None


def client_of(api_key: str, base_url: str | None) -> openai.OpenAI:
    """A client of OpenAI's API. Close it after use."""
    return openai.OpenAI(api_key=api_key, base_url=base_url, timeout=TIMEOUT_S)


def uploaded(data: ChatFile) -> bytes:
    """The file as OpenAI documents it, without our own field `expect`."""
    lines = []
    for example in data.examples:
        messages: list[dict[str, object]] = []
        for message in example.messages:
            context_only = message.role == "assistant" and not message.trained
            weight = {"weight": 0} if context_only else {}
            messages.append({"role": message.role, "content": message.content, **weight})
        lines.append(json.dumps({"messages": messages}))
    return "".join(f"{line}\n" for line in lines).encode()


def check_size(data: ChatFile) -> None:
    """Checks that there are enough examples for OpenAI.

    Raises:
        BadInput: there are not.
    """
    if len(data.examples) < EXAMPLES_AT_LEAST:
        raise BadInput(
            f"{data.path} has {len(data.examples)} examples, and OpenAI demands at least "
            f"{EXAMPLES_AT_LEAST}; 50 to 100 are a good beginning"
        )


def start(client: openai.OpenAI, data: ChatFile, order: Order) -> str:
    """Uploads the file and starts the job; returns the job's id.

    Raises:
        JobFailed: OpenAI refuses; the uploaded file was deleted again.
    """
    with _explained():
        file = client.files.create(file=(data.path.name, uploaded(data)), purpose="fine-tune")
        click.echo(f"uploaded {len(data.examples)} examples as {file.id}", err=True)
    try:
        with _explained():
            job = client.fine_tuning.jobs.create(
                model=order.model,
                training_file=file.id,
                suffix=order.suffix or openai.omit,
                seed=openai.omit if order.seed is None else order.seed,
                method={
                    "type": "supervised",
                    "supervised": {"hyperparameters": {"n_epochs": order.epochs or "auto"}},
                },
            )
    except JobFailed:
        _delete(client, file.id)
        raise
    return job.id


def follow(client: openai.OpenAI, job_id: str, *, every_s: float) -> str:
    """Prints the events of a job until it ends; returns the name of the new model.

    Raises:
        JobFailed: the job failed or was cancelled, or OpenAI does not answer.
    """
    shown: set[str] = set()
    while True:
        with _explained():
            job = client.fine_tuning.jobs.retrieve(job_id)
            for event in reversed(client.fine_tuning.jobs.list_events(job_id).data):
                if event.id not in shown:
                    shown.add(event.id)
                    click.echo(f"{job_id}: {event.message}", err=True)
        if job.status in ENDED:
            _delete(client, job.training_file)
            return _model_of(job)
        time.sleep(every_s)


def _model_of(job: FineTuningJob) -> str:
    if job.status == "succeeded" and job.fine_tuned_model:
        return job.fine_tuned_model
    reason = f": {job.error.message}" if job.error and job.error.message else ""
    raise JobFailed(f"the job {job.id} {job.status}{reason}")


def _delete(client: openai.OpenAI, file_id: str) -> None:
    try:
        client.files.delete(file_id)
    except openai.OpenAIError:
        click.echo(f"{file_id} is still stored at OpenAI: delete it on its website", err=True)


@contextmanager
def _explained() -> Iterator[None]:
    """Turns errors of the client into sentences that say what to do."""
    try:
        yield
    except openai.AuthenticationError as error:
        raise JobFailed("OpenAI refuses the key: set another OPENAI_API_KEY") from error
    except openai.PermissionDeniedError as error:
        raise JobFailed(
            f"OpenAI refuses fine-tuning for this organization ({_reason(error)}): train with "
            "`threadwax finetune local` instead"
        ) from error
    except openai.APIStatusError as error:
        raise JobFailed(f"OpenAI refuses ({error.status_code}): {_reason(error)}") from error
    except openai.APIConnectionError as error:
        raise JobFailed("OpenAI cannot be reached: try again later") from error


def _reason(error: openai.APIStatusError) -> str:
    """OpenAI's own explanation, on one line."""
    body = error.body if isinstance(error.body, dict) else {}
    return " ".join(str(body.get("message") or error.message).split())
