"""The commands `threadwax backup` and `threadwax restore`. Each imports what it needs late."""

import asyncio
import errno
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

import click

from ops.backup.progress import Interrupted, Progress
from ops.cli_settings import read_settings
from shared import lifecycle
from shared.private_file import make_folder

if TYPE_CHECKING:
    from ops.backup.archive import Writer
    from ops.backup.manifest import Manifest
    from shared.settings import Settings

FAILED: Final = 1
USAGE: Final = 2

MIB: Final = 1 << 20
COPY_BYTES: Final = MIB

STANDARD: Final = Path("-")
"""Standard output or input."""

FORGOTTEN: Final = (
    "People who were forgotten since then are back: once the dataflow runs, run `threadwax forget "
    "USER` again for everybody on your list."
)
LOST: Final = (
    "What was said since then is lost. Start everything again, for example with `threadwax up`."
)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
def backup(*, file: Path) -> None:
    """Write all questions, answers and conversations to FILE, while everything keeps running.

    FILE contains everything that people said, readable: keep it as private as they would. It must
    not exist yet, and appears when it is complete:

    \b
      threadwax backup /backups/threadwax-$(date +%F).tar

    With - as FILE, it goes to standard output once it is complete, and needs as much room in the
    data folder until then. It is complete if the exit code is 0:

    \b
      ssh bot threadwax backup - > threadwax.tar.part && mv threadwax.tar.part threadwax.tar

    It has the streams of NATS, the conversations, and the recorder's database, whether they are
    SQLite files in the data folder or tables of DATABASE_URL. It does not have .env, trained
    models, Slack installations and the web page's key (docs/deploy.md). With a NATS server of your
    own, run it as the user that sets up the streams:

    \b
      NATS_URL=nats://admin:...@127.0.0.1:4222 threadwax backup FILE

    Exit code 0: written. 1: not written; standard error says why. 2: wrong usage. 130, 143: ended
    by Ctrl-C or SIGTERM, and nothing is left.
    """  # noqa: D301  (Click needs the character)
    from ops.backup.archive import writing, writing_to
    from ops.backup.take import take

    progress = Progress()

    def run(to: "AbstractContextManager[Writer]") -> "Manifest":
        return _run(settings, lambda url: take(settings, url, to, progress), progress, name)

    settings = read_settings("backup")
    name = "standard output" if file == STANDARD else str(file)
    if file == STANDARD:
        _refuse_terminal(sys.stdout, name)
        with _spool(settings) as spool:
            manifest = run(writing_to(spool, settings.home))
            _copy(spool, sys.stdout.buffer, name)
            size = spool.tell()
    else:
        manifest = run(writing(file))
        size = file.stat().st_size
    done = f"{name}: {size / MIB:.1f} MiB, as of {manifest.began_at:%F %T} UTC"
    click.echo(done, err=file == STANDARD)


@click.command()
@click.argument(
    "file", type=click.Path(path_type=Path, dir_okay=False, exists=True, allow_dash=True)
)
def restore(*, file: Path) -> None:
    """Restore FILE, which `backup` wrote, to an empty data folder, NATS server and database.

    Stop `threadwax up`, or the dataflow, the recorder and all adapters, first; a NATS server of
    your own keeps running:

    \b
      THREADWAX_HOME=/new/folder threadwax restore FILE
      NATS_URL=nats://admin:...@127.0.0.1:4222 threadwax restore FILE

    With - as FILE, it is read from standard input, into the data folder at first.

    The archive is checked completely before anything changes, and nothing changes unless all of it
    can be restored. Then no question is answered again, and no answer is shown again. Replies that
    may have been shown after the backup are looked up on their platform first.

    Exit code 0: restored. 1: nothing was changed; standard error says why. 2: wrong usage. 130,
    143: ended by Ctrl-C or SIGTERM, and nothing was changed.
    """  # noqa: D301  (Click needs the character)
    from ops.backup.put_back import put_back

    progress = Progress()

    def run(source: "Path | IO[bytes]") -> "Manifest":
        return _run(settings, lambda url: put_back(settings, url, source, progress), progress, name)

    settings = read_settings("restore")
    name = "standard input" if file == STANDARD else str(file)
    if file == STANDARD:
        _refuse_terminal(sys.stdin, name)
        with _spool(settings) as spool:
            _copy(sys.stdin.buffer, spool, name)
            manifest = run(spool)
    else:
        manifest = run(file)
    click.echo(f"Restored what was there at {manifest.began_at:%F %T} UTC. {LOST}")
    click.echo(FORGOTTEN)


Work = Callable[[str], Coroutine[Any, Any, "Manifest"]]
T = TypeVar("T")


def _run(settings: "Settings", work: Work, progress: Progress, name: str) -> "Manifest":
    """Runs it until a signal stops it; ends the process if it fails. `name` is the archive's."""
    from ops.backup.server import server_url

    with _explained(name):
        try:
            with server_url(settings) as url:
                return asyncio.run(_unless_stopped(work(url), progress))
        except _StoppedBy as stopped:
            _say("stopped; nothing was changed")
            sys.exit(128 + signal.Signals[str(stopped)])


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Ends the process with the reason if something fails."""
    try:
        yield
    except Exception as error:
        if (why := _reason_for(error, name)) is None:
            raise
        _say(why)
        sys.exit(USAGE if isinstance(error, FileExistsError) else FAILED)


def _say(text: str) -> None:
    click.echo(f"{click.get_current_context().info_name}: {text}", err=True)


def _refuse_terminal(stream: IO[str] | None, name: str) -> None:
    if stream is None:
        _say(f"{name} is closed: redirect it to or from a file, or name a file")
        sys.exit(USAGE)
    if stream.isatty():
        _say("an archive is not for a terminal: redirect it to a file, or name a file")
        sys.exit(USAGE)


def _spool(settings: "Settings") -> IO[bytes]:
    """A file without a name, of which nothing is left: a part's size is known after the part."""
    with _explained(str(settings.home)):
        make_folder(settings.home)
        return tempfile.TemporaryFile(dir=settings.home)


def _copy(source: IO[bytes], target: IO[bytes], name: str) -> None:
    """Copies all of a file, from its start if it has one. `name` is the archive's."""
    with _explained(name):
        if source.seekable():
            source.seek(0)
        shutil.copyfileobj(source, target, COPY_BYTES)
        target.flush()


class _StoppedBy(Exception):
    """The signal with this name."""


async def _unless_stopped(work: Coroutine[Any, Any, T], progress: Progress) -> T:
    stop = asyncio.create_task(lifecycle.wait_for_stop())
    await asyncio.sleep(0)  # from here on, a signal stops it cleanly
    working = asyncio.create_task(work)
    await asyncio.wait({stop, working}, return_when=asyncio.FIRST_COMPLETED)
    if not working.done():
        progress.stop()
        working.cancel()
        await asyncio.wait({working})
        if working.cancelled() or isinstance(working.exception(), Interrupted):
            raise _StoppedBy(stop.result())
    stop.cancel()
    return working.result()


def _reason_for(error: Exception, name: str) -> str | None:
    """Why it failed, for a person; None if the error is a defect of ours."""
    import nats.errors

    from ops.backup.archive import Damaged, NewerArchive
    from ops.backup.databases import Unusable
    from ops.backup.put_back import NotHere
    from ops.backup.streams import StreamFailed
    from ops.nats import set_up_fault
    from ops.nats_server import DidNotStart
    from shared.connection import Unavailable
    from shared.database.engine import BadDatabaseUrl
    from shared.partitioning import OtherPartitions

    told = (
        NotHere, StreamFailed, Unusable, BadDatabaseUrl, DidNotStart, Unavailable, OtherPartitions
    )  # fmt: skip
    if isinstance(error, Damaged | NewerArchive):
        return f"{name} cannot be restored: {error}"
    if isinstance(error, told):
        return str(error)
    if isinstance(error, FileExistsError):
        return f"{name} exists: choose another name"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full: free some space, and run it again"
    if isinstance(error, nats.errors.Error | TimeoutError):
        return set_up_fault("NATS", error)
    return f"{error.filename or name}: {error.strerror}" if isinstance(error, OSError) else None
