"""The command `threadwax forget`. It imports what it needs late."""

import sys

import click

from ops.cli_settings import read_settings


@click.command()
@click.argument("user", required=False)
@click.argument("markers", nargs=-1)
@click.option("--list", "list_users", is_flag=True, help="List the users with stored messages.")
@click.option("--verify", is_flag=True, help="Search the data folder for MARKERS; erase nothing.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def forget(
    *, user: str | None, markers: tuple[str, ...], list_users: bool, verify: bool, yes: bool
) -> None:
    """Erase everything that is stored about USER, such as slack:T1_2EU2.

    Prints how much was erased in each store. To prove it, search every file of the data folder for
    words that only this person wrote: threadwax forget USER --verify "some words" "other words".

    Exit code 0: done, or no marker was found. 1: not done, not yet done, or a marker was found.
    2: wrong usage. The command can be repeated at any time.
    """
    from ops.forget import run

    settings = read_settings("forget")
    if list_users:
        sys.exit(run.list_users(settings))
    if user is None:
        raise click.UsageError("name a USER, or use --list")
    if verify:
        sys.exit(run.verify(settings, list(markers)))
    if markers:
        raise click.UsageError("markers need --verify")
    sys.exit(run.forget(settings, user, sure=yes))
