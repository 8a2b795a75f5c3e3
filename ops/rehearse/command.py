"""The command `threadwax rehearse`. Everything large is imported when it runs."""

import re
import sys
from pathlib import Path
from typing import Any, Final

import click

from ops.named_file import NamedFile

PROMPT_LIMIT_BYTES: Final = 1 << 20
LARGEST: Final = 1e6
MINUTES: Final = 60.0

HELP: Final = """Ask another model what people really asked, and compare the answers.

\b
  threadwax rehearse --model gpt-6.1-terra --judge gpt-6.1-sol --last 200
  threadwax rehearse --model qwen3 --base-url http://127.0.0.1:11434/v1
  threadwax rehearse --model local:mine
  threadwax rehearse --model gpt-6-luna --prompt new-prompt.txt

Rebuilds the last requests from the streams, asks the candidate, and reports cost, latency,
refusals, failures and length of old and new answers. A judge compares each pair blindly, in both
orders. The result is a page (report.html) with all pairs side by side, and report.json.

This sends what people wrote to the candidate and the judge. People who opted out are left out. The
same command continues after an interruption or a limit. docs/rehearse.md explains the rest.

Exit code 0: complete. 1: a limit was reached, or something cannot be used. 2: wrong usage.
"""


class Dollars(click.ParamType[float]):
    """An amount of money, or `none`."""

    name = "dollars"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The amount; 0 stands for no limit."""
        if isinstance(value, float):
            return value
        if str(value).lower() == "none":
            return 0.0
        try:
            amount = float(value)
        except ValueError:
            amount = -1.0
        if not 0 < amount < LARGEST:
            self.fail(f"{value!r} is neither an amount of dollars nor none", param, ctx)
        return amount


@click.command(help=HELP)
@click.option(
    "--model", required=True, help="The candidate; demo and local:NAME run on this machine."
)
@click.option("--base-url", help="The candidate's endpoint. Default: the configured one.")
@click.option("--api-key-env", metavar="NAME", help="The environment variable with its key.")
@click.option(
    "--prompt",
    "prompt_file",
    type=NamedFile(exists=True),
    help="A file with another system prompt. Personas of channels stay.",
)
@click.option("--last", default=200, type=click.IntRange(1, 100_000), help="How many questions.")
@click.option("--judge", help="The model that compares the answers. Default: none.")
@click.option("--judge-base-url", help="The judge's endpoint. Default: the configured one.")
@click.option("--judge-api-key-env", metavar="NAME", help="The environment variable with its key.")
@click.option(
    "--max-dollars",
    type=Dollars(),
    help="Ends before it costs more, over all runs; none: no limit. Default: 1, or no limit if the "
    "price of a model is unknown.",
)
@click.option(
    "--max-minutes",
    type=click.FloatRange(0, min_open=True),
    default=MINUTES,
    help="Begins no call after this time.",
)
@click.option("--parallel", default=4, type=click.IntRange(1, 64), help="Calls at the same time.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder of the results. Default: rehearsal-MODEL in the current folder.",
)
def rehearse(  # noqa: D103  (HELP describes it)
    *,
    model: str,
    base_url: str | None,
    api_key_env: str | None,
    prompt_file: Path | None,
    last: int,
    judge: str | None,
    judge_base_url: str | None,
    judge_api_key_env: str | None,
    max_dollars: float | None,
    max_minutes: float,
    parallel: int,
    out: Path | None,
) -> None:
    from ops.rehearse.options import Options, TargetOptions
    from ops.rehearse.run import main
    from ops.settings import read
    from shared import log
    from shared.settings import Settings

    settings = read(Settings)
    log.set_up("error", process="rehearse")
    if judge is None and (judge_base_url or judge_api_key_env):
        raise click.UsageError("--judge-base-url and --judge-api-key-env need --judge")
    options = Options(
        candidate=TargetOptions(model, base_url, api_key_env),
        judge=None if judge is None else TargetOptions(judge, judge_base_url, judge_api_key_env),
        prompt=None if prompt_file is None else _prompt_in(prompt_file),
        last=last,
        dollars=max_dollars,
        minutes=max_minutes,
        parallel=parallel,
        folder=(out or Path(f"rehearsal-{re.sub(r'[^A-Za-z0-9.]+', '-', model)}")).absolute(),
    )
    sys.exit(main(settings, options))


def _prompt_in(file: Path) -> str:
    with file.open("rb") as opened:
        data = opened.read(PROMPT_LIMIT_BYTES + 1)
    try:
        prompt = data.decode().strip()
    except UnicodeDecodeError:
        prompt = ""
    if not prompt or len(data) > PROMPT_LIMIT_BYTES:
        raise click.UsageError(f"{file} must be a text in UTF-8 of at most 1 MiB, and not empty")
    return prompt
