"""The commands below `threadwax finetune`. Everything large is imported when a command runs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import click

from ops.help import FullHelpGroup
from ops.named_file import NamedFile
from shared import lifecycle

if TYPE_CHECKING:
    from shared.settings import Settings


HELP: Final = """Train a model of your own on conversations, and list what was trained.

\b
  threadwax finetune local --data chats.jsonl --name mine
  THREADWAX_MODEL=local:mine threadwax up

Each line of the data is one conversation that ends with an answer, in OpenAI's chat format:

\b
  {"messages": [{"role": "user", "content": "Who repairs the lift?"},
   {"role": "assistant", "content": "Call Priya, extension 12."}]}

docs/finetuning.md explains the rest.
"""


@click.group(cls=FullHelpGroup, help=HELP)
def finetune() -> None:
    """Groups the commands."""


@finetune.command()
@click.option(
    "--data",
    required=True,
    type=NamedFile(),
    help="The conversations, one JSON object per line.",
)
@click.option("--name", required=True, help="What the adapter is to be called.")
@click.option(
    "--base",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder with a Hugging Face model. Default: the embedded model.",
)
@click.option("--epochs", default=8, type=click.IntRange(1, 100), help="Passes over the data.")
@click.option("--batch-size", default=8, type=click.IntRange(1, 256), help="Examples per step.")
@click.option(
    "--learning-rate",
    default=1e-3,
    type=click.FloatRange(0, 1, min_open=True),
    help="The highest step width.",
)
@click.option("--rank", default=8, type=click.IntRange(1, 256), help="Size of the adapter.")
@click.option(
    "--max-tokens",
    default=1024,
    type=click.IntRange(16, 131_072),
    help="Longer conversations are left out, and named.",
)
@click.option("--seed", default=0, type=click.IntRange(0, 2**32 - 1), help="For random numbers.")
@click.option(
    "--system", help="The system prompt of conversations without one. Default: the bot's own."
)
@click.option(
    "--held-out",
    type=NamedFile(),
    help="Conversations to evaluate on. Default: some of the data, which are not trained on.",
)
@click.option(
    "--held-out-share",
    default=0.1,
    type=click.FloatRange(0, 0.9),
    help="How much of the data is held out.",
)
@click.option("--full-precision", is_flag=True, help="Store 32 bits per number instead of 16.")
@click.option("--threads", type=click.IntRange(1, 1024), help="Cores to use. Default: all.")
@click.option("--replace", is_flag=True, help="Replace an adapter of the same name.")
@click.option("--restart", is_flag=True, help="Discard an interrupted training of this name.")
def local(
    *,
    data: Path,
    name: str,
    base: Path | None,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    rank: int,
    max_tokens: int,
    seed: int,
    system: str | None,
    held_out: Path | None,
    held_out_share: float,
    full_precision: bool,
    threads: int | None,
    replace: bool,
    restart: bool,
) -> None:
    """Train a LoRA adapter on this machine, and evaluate it on held-out conversations.

    Prints the scores of the base model and of the adapter side by side. If it is interrupted, even
    by a power cut, the same command continues it. docs/finetuning.md explains the options.

    Exit code 0: trained and stored. 1: interrupted. 2: wrong usage or data. 78: something has to be
    installed first.
    """
    from dataflow.model.dialects import DEMO_SYSTEM_PROMPT
    from ops.demo_weights import NoWeights
    from ops.finetune.adapters import MERGED_FOLDER, Hyperparameters, adapter_folder
    from ops.finetune.errors import BadInput, Interrupted, NotInstalled
    from ops.finetune.local import Request, train
    from ops.finetune.table import scores_table
    from shared.lock import AlreadyRunning

    settings = _settings()
    request = Request(
        name=name,
        data=data,
        hyperparameters=Hyperparameters(
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            rank=rank,
            alpha=2 * rank,
            max_tokens=max_tokens,
            seed=seed,
            system=system or settings.system_prompt or DEMO_SYSTEM_PROMPT,
        ),
        base=base,
        held_out=held_out,
        held_out_share=held_out_share,
        half=not full_precision,
        threads=threads,
        replace=replace,
        restart=restart,
    )
    try:
        manifest = train(settings.home, request)
    except (NotInstalled, NoWeights) as error:
        _fail(error, lifecycle.CANNOT_START)
    except (BadInput, AlreadyRunning) as error:
        _fail(error, 2)
    except Interrupted as error:
        _fail(error, 1)
    scores_table(manifest)
    if manifest.base.kind == "embedded":
        click.echo(f"use it with THREADWAX_MODEL=local:{manifest.name}")
    else:
        merged = adapter_folder(settings.home, manifest.name) / MERGED_FOLDER
        click.echo(f"use it with `threadwax model --hf {merged}`")


@finetune.command("openai")
@click.option(
    "--data",
    type=NamedFile(),
    help="The conversations, one JSON object per line.",
)
@click.option("--model", help="The model of OpenAI to train, as its documentation names it.")
@click.option("--suffix", help="Becomes part of the new model's name.")
@click.option("--epochs", type=click.IntRange(1, 50), help="Default: OpenAI decides.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="For random numbers.")
@click.option("--yes", is_flag=True, help="Upload without asking.")
@click.option("--job", help="Follow a job that was started before, instead of starting one.")
@click.option(
    "--every-s", default=10.0, type=click.FloatRange(0.1), help="Seconds between looks at the job."
)
def openai_(
    *,
    data: Path | None,
    model: str | None,
    suffix: str | None,
    epochs: int | None,
    seed: int | None,
    yes: bool,
    job: str | None,
    every_s: float,
) -> None:
    """Train at OpenAI instead, as long as that service exists; needs OPENAI_API_KEY.

    Explains first that the service is closing, and uploads nothing before you agree. Ctrl-C does
    not stop the job; --job follows it again.

    Exit code 0: the model is trained. 1: refused, failed, or not agreed to. 2: wrong usage or data.
    """
    settings = _settings()
    if settings.openai_api_key is None:
        raise click.UsageError("set OPENAI_API_KEY to a key of OpenAI")
    if job is None and (data is None or model is None):
        raise click.UsageError("name the conversations with --data, and what to train with --model")

    from ops.finetune import openai_job
    from ops.finetune.chat_file import read_chat_file
    from ops.finetune.errors import BadInput, JobFailed

    key = settings.openai_api_key.get_secret_value()
    try:
        with openai_job.client_of(key, settings.openai_base_url) as client:
            if data is not None and model is not None:
                chats = read_chat_file(data)
                openai_job.check_size(chats)
                click.echo(openai_job.NOTICE, err=True)
                if not yes:
                    click.confirm(f"Upload {len(chats.examples)} examples?", abort=True, err=True)
                order = openai_job.Order(model, suffix, epochs, seed)
                job = openai_job.start(client, chats, order)
                click.echo(
                    f"started; `threadwax finetune openai --job {job}` follows it again", err=True
                )
            name = openai_job.follow(client, str(job), every_s=every_s)
    except BadInput as error:
        _fail(error, 2)
    except JobFailed as error:
        _fail(error, 1)
    click.echo(f"use it with THREADWAX_MODEL={name}")


@finetune.command("list")
def list_() -> None:
    """List the adapters of this data folder with their scores."""
    from ops.finetune.adapters import manifests
    from ops.finetune.table import adapters_table

    found = manifests(_settings().home)
    if not found:
        click.echo("no adapters yet: train one with `threadwax finetune local`", err=True)
        return
    adapters_table(found)


@finetune.command()
@click.argument("name")
def remove(*, name: str) -> None:
    """Remove an adapter; a server that has loaded it keeps it until it is restarted."""
    from ops.finetune import adapters
    from ops.finetune.errors import UnknownAdapter

    try:
        adapters.remove(_settings().home, name)
    except UnknownAdapter as error:
        _fail(error, 2)
    click.echo(f"removed {name}")


def _settings() -> "Settings":
    """Reads the settings, and creates the data folder if necessary."""
    from ops.folder_check import make_usable
    from ops.settings import read
    from shared.settings import Settings

    settings = read(Settings)
    if fault := make_usable(settings.home):
        _fail(ValueError(f"the data folder cannot be used: {fault}"), lifecycle.CANNOT_START)
    return settings


def _fail(error: Exception, code: int) -> NoReturn:
    click.echo(str(error), err=True)
    sys.exit(code)
