"""The commands that report what the recorder wrote."""

from datetime import datetime

import click

from ops.recorded import as_json as with_json
from ops.recorded import since as with_since


@click.command()
@click.option(
    "--by",
    type=click.Choice(["user", "day", "model", "place", "experiment"]),
    default="day",
    help="What to print a line for. Days are those of UTC.",
)
@with_since
@with_json
def usage(*, by: str, since: datetime | None, as_json: bool) -> None:
    """Print how many questions, tokens and dollars were used, by user, day, model and so on.

    By model and by experiment, it also prints the cost per answer, and the mean times until the
    first text and the whole answer.

    The prices of well-known models are built in; THREADWAX_PRICES adds others (docs/recorder.md).
    The money is marked with + if the price of some model is unknown.
    """
    from ops.usage import main

    main(by, since, as_json=as_json)  # type: ignore[arg-type]


@click.command()
@click.option("--all", "everything", is_flag=True, help="Also the answers that were rated up.")
@with_since
@with_json
def ratings(*, everything: bool, since: datetime | None, as_json: bool) -> None:
    """Print the answers that people rated down, with the reason and their correction."""
    from ops.history import rated

    rated(since, everything=everything, as_json=as_json)


@click.command()
@click.argument("user")
@with_since
@with_json
def history(*, user: str, since: datetime | None, as_json: bool) -> None:
    """Print what one person asked and was answered, as Markdown.

    USER is platform:name, such as terminal:ada or slack:T1_2EU2.
    """
    from ops.history import history

    history(user, since, as_json=as_json)


COMMANDS = (usage, ratings, history)
