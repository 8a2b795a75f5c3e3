"""The command `threadwax export`. Everything large is imported when it runs."""

import importlib.util
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import click

from ops.named_file import NamedFile
from ops.recorded import Since, printable, with_engine
from ops.recorded import since as with_since
from shared import lifecycle

if TYPE_CHECKING:
    import sqlalchemy as sa

    from ops.export.contents import Summary
    from ops.export.redacted import Redaction
    from ops.export.run import Exported
    from shared.settings import Settings

INSTALL: Final = "run `make setup-export` in the checkout, or install threadwax[export]"

CHANNELS_SHOWN: Final = 10

CONTEXT_TURNS: Final = 8

TRAINING: Final = frozenset({"chat", "dpo"})
"""The formats whose rows are examples for a training."""


@click.command()
@click.option(
    "--format",
    "format_",
    required=True,
    type=click.Choice(["chat", "dpo", "csv", "parquet"]),
    help="chat: conversations to imitate. dpo: pairs of a better and a worse answer. csv and "
    "parquet: a table of all turns.",
)
@click.option(
    "--out",
    required=True,
    type=NamedFile(),
    help="The file to write; its manifest is FILE.manifest.json.",
)
@click.option("--replace", is_flag=True, help="Replace the file if it exists.")
@with_since
@click.option("--until", type=Since(), help="Only what came before: 2026-11-26, or 7d.")
@click.option("--platform", "platforms", multiple=True, help="Only this platform, such as slack.")
@click.option(
    "--place",
    "places",
    multiple=True,
    help="Only this channel: its id, or as `threadwax usage --by place` prints it.",
)
@click.option("--model", "models", multiple=True, help="Only answers of this model.")
@click.option("--person", "people", multiple=True, help="Only this user, such as terminal:ada.")
@click.option(
    "--rating",
    type=click.Choice(["up", "down", "none", "any"]),
    default="any",
    help="Only answers with this rating; none: without one. Not for dpo.",
)
@click.option(
    "--context-turns",
    default=CONTEXT_TURNS,
    type=click.IntRange(0, 100),
    help="At most this many earlier turns of the thread come with each example.",
)
@click.option(
    "--redact",
    is_flag=True,
    help="Replace e-mail, web, IP and MAC addresses, phone, card, IBAN and US social security "
    "numbers and wallets by their kind, such as <EMAIL_ADDRESS>. Finds no names and no street "
    "addresses. Needs the extra `export`.",
)
def export(
    *,
    format_: str,
    out: Path,
    replace: bool,
    since: datetime | None,
    until: datetime | None,
    platforms: tuple[str, ...],
    places: tuple[str, ...],
    models: tuple[str, ...],
    people: tuple[str, ...],
    rating: str,
    context_turns: int,
    redact: bool,
) -> None:
    """Write questions and answers to a file, for `threadwax finetune` or for analysis.

    Leaves out people who do not allow it (/privacy), deleted messages, and all channels of Slack
    and Discord, whose terms restrict training, unless THREADWAX_TRAINING_ATTESTED names them
    (docs/export.md). Prints what was left out, and why.

    Options that can be repeated widen the choice: --model a --model b exports both.

    Exit code 0: written. 1: nothing to export, or not possible now. 2: wrong usage. 78: something
    has to be installed first.
    """
    if format_ == "dpo" and rating != "any":
        raise click.UsageError("--rating is not for dpo, which compares answers by their ratings")
    if out.exists() and not replace:
        raise click.UsageError(f"{out} exists: choose another name, or add --replace")
    if format_ == "parquet":
        _require("pyarrow", "--format parquet")
    if redact:
        _require("presidio_analyzer", "--redact")

    from ops.export.contents import Order
    from ops.export.run import KeepsChanging, NothingToExport
    from ops.export.run import export as write_export
    from ops.export.selection import Consent, Filters

    filters = Filters(since, until, platforms, places, models, people, rating)  # type: ignore[arg-type]

    def work(engine: "sa.Engine", settings: "Settings") -> "Exported":
        order = Order(
            format_,  # type: ignore[arg-type]
            filters,
            Consent(settings.training_attested),
            context_turns if format_ in TRAINING else 0,
            _redaction() if redact else None,
        )
        return write_export(engine, order, out.absolute())

    try:
        done = with_engine(work)
    except NothingToExport as error:
        _report(error.summary)
        _fail("nothing to export: no file was written")
    except KeepsChanging:
        _fail("people deleted messages during the export: no file was written; run it again")
    except OSError as error:
        _fail(f"{out} cannot be written: {error.strerror or error}")
    noun = "example" if format_ in TRAINING else "row"
    people_counted = _counted(len(done.summary.people), "person", "people")
    click.echo(f"wrote {_counted(done.summary.examples, noun)} of {people_counted} to {out}")
    if redact:
        click.echo(f"redacted: {_replaced(done.summary)}; names stay (docs/export.md)")
    _report(done.summary)


def _redaction() -> "Redaction":
    from ops.export.redaction import redaction

    return redaction()


def _replaced(summary: "Summary") -> str:
    """How often each kind was replaced, the most frequent first."""
    kinds = sorted(summary.replaced.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {kind}" for kind, count in kinds) or "nothing was found"


def _report(summary: "Summary") -> None:
    """Prints what was left out, and why, on standard error."""
    if not summary.turns:
        click.echo("no recorded turn matches", err=True)
        return
    for why, count in summary.left_out.most_common():
        click.echo(f"left out: {_counted(count, 'turn')} {why}", err=True)
    if not summary.not_attested:
        return
    channels = summary.not_attested.most_common()
    for (platform, channel), count in channels[:CHANNELS_SHOWN]:
        name = printable(channel) or "(channel not recorded)"
        click.echo(f"  {platform} {name}: {count:,}", err=True)
    if len(channels) > CHANNELS_SHOWN:
        click.echo(f"  and {len(channels) - CHANNELS_SHOWN:,} other channels", err=True)
    click.echo(
        "  The terms of these platforms restrict training. If you may export a channel, name it in "
        "THREADWAX_TRAINING_ATTESTED, with the reason (docs/export.md).",
        err=True,
    )


def _require(package: str, option: str) -> None:
    if importlib.util.find_spec(package) is None:
        _fail(
            f"{option} needs {package}, which is not installed: {INSTALL}", lifecycle.CANNOT_START
        )


def _counted(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _fail(why: str, code: int = 1) -> NoReturn:
    click.echo(why, err=True)
    sys.exit(code)
