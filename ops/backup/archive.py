"""One private file with all parts: a tar archive whose last member says what it must contain.

A part is never held in memory. An archive gets its name when it is complete and on the disk.
"""

import errno
import gzip
import hashlib
import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from pydantic import BaseModel, ValidationError

from ops.backup.manifest import FORMAT, Manifest, Part
from shared.private_file import sync_folder

MANIFEST: Final = "manifest.json"
CHECKSUM: Final = "manifest.sha256"

READ_BYTES: Final = 1 << 20

NO_FOLDER: Final = "there is no such folder: create it, or choose another"

_MANIFEST_LIMIT_BYTES: Final = 16 << 20
_END_BLOCKS: Final = 2
"""How a tar archive ends: https://www.gnu.org/software/tar/manual/html_node/Standard.html"""

Write = Callable[[bytes], None]


class Damaged(Exception):
    """The file is not a complete archive, or its contents have changed: use another one."""


class NewerArchive(Exception):
    """A newer version made the archive: use that version."""


class _Format(BaseModel):
    format: int
    threadwax: str = "a newer version"


class Writer:
    """An archive that is being written. Made with `writing`."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file = file
        self.path = path
        self.parts: list[Part] = []

    @contextmanager
    def part(self, name: str) -> Iterator[Write]:
        """Adds a part; what is passed to the function becomes its contents."""
        head_at = self._file.tell()
        self._file.write(_head(name, 0))
        digest = hashlib.sha256()

        def write(data: bytes) -> None:
            self._file.write(data)
            digest.update(data)

        yield write
        end_at = self._file.tell()
        size = end_at - head_at - tarfile.BLOCKSIZE
        self._file.seek(head_at)
        self._file.write(_head(name, size))  # the size is known only now
        self._file.seek(end_at)
        self._file.write(bytes(-size % tarfile.BLOCKSIZE))
        self.parts.append(Part(name=name, bytes=size, sha256=digest.hexdigest()))

    @contextmanager
    def compressed_part(self, name: str) -> Iterator[Write]:
        """The same, with gzip."""
        with self.part(name) as write, gzip.GzipFile("", "wb", 6, _Sink(write), 0) as packed:

            def put(data: bytes) -> None:
                packed.write(data)

            yield put

    def finish(self, manifest: Manifest) -> None:
        """Adds the manifest, and ends the archive."""
        text = manifest.model_dump_json(indent=1).encode()
        for name, data in (
            (MANIFEST, text),
            (CHECKSUM, hashlib.sha256(text).hexdigest().encode() + b"\n"),
        ):
            with self.part(name) as write:
                write(data)
        self._file.write(bytes(_END_BLOCKS * tarfile.BLOCKSIZE))


class _Sink:
    """What `GzipFile` writes to."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def write(self, data: bytes) -> int:
        self._write(bytes(data))
        return len(data)

    def flush(self) -> None:
        """The archive is flushed once, at its end."""


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """An archive that replaces nothing, and that appears at `path` when it is complete.

    Raises:
        FileExistsError: there is a file already.
        OSError: it cannot be written, for example because the disk is full; nothing is left of it.
    """
    if path.exists():
        raise FileExistsError(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, NO_FOLDER, str(path.parent))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield Writer(file, path)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)  # unlike a rename, it never replaces a file
    finally:
        temporary.unlink()
    sync_folder(path.parent)


class Reader:
    """A complete archive. Made with `verified`."""

    def __init__(self, tar: tarfile.TarFile, manifest: Manifest) -> None:
        self._tar = tar
        self.manifest = manifest

    def chunks(self, name: str, size: int = READ_BYTES) -> Iterator[bytes]:
        """A part in chunks of at most `size` bytes."""
        with _opened(self._tar, name) as file:
            while data := file.read(size):
                yield data

    def unpacked(self, name: str) -> Iterator[bytes]:
        """A compressed part, decompressed, in chunks of at most `READ_BYTES` bytes."""
        with _opened(self._tar, name) as file, gzip.GzipFile(fileobj=file) as packed:
            while data := packed.read(READ_BYTES):
                yield data


@contextmanager
def writing_to(file: IO[bytes], folder: Path) -> Iterator[Writer]:
    """An archive in a file that is open, and can be read and sought.

    `folder`: where copies of databases are made meanwhile.
    """
    yield Writer(file, folder / "archive")
    file.flush()


@contextmanager
def verified(
    source: Path | IO[bytes], on_part: Callable[[str], None] = lambda _: None
) -> Iterator[Reader]:
    """Opens an archive after it was read completely and compared with its checksums.

    `on_part` is called before each part is read.

    Raises:
        Damaged: it is not complete, or has changed.
        NewerArchive: a newer version made it.
        OSError: it cannot be read.
    """
    try:
        with _tar(source) as tar:
            manifest = _manifest(tar)
            for part in manifest.parts:
                on_part(part.name)
                _check(tar, part)
            yield Reader(tar, manifest)
    except tarfile.TarError as error:
        raise Damaged(
            f"it is not an archive of `threadwax backup`, or damaged ({error})"
        ) from error


def _tar(source: Path | IO[bytes]) -> tarfile.TarFile:
    if isinstance(source, Path):
        return tarfile.open(source, "r:")
    source.seek(0)
    return tarfile.open(fileobj=source, mode="r:")


def _manifest(tar: tarfile.TarFile) -> Manifest:
    text = _whole(tar, MANIFEST)
    if hashlib.sha256(text).hexdigest().encode() != _whole(tar, CHECKSUM).strip():
        raise Damaged("its manifest has changed since it was written")
    try:
        made_by = _Format.model_validate_json(text)
        if made_by.format > FORMAT:
            raise NewerArchive(
                f"threadwax {made_by.threadwax} made it, in a newer format than this version can "
                "read: restore it with that version"
            )
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise Damaged(f"its manifest cannot be read ({error.error_count()} faults)") from error


def _whole(tar: tarfile.TarFile, name: str) -> bytes:
    with _opened(tar, name) as file:
        return file.read(_MANIFEST_LIMIT_BYTES)


def _opened(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    try:
        member = tar.getmember(name)
    except KeyError:
        raise Damaged(f"it is incomplete: {name} is missing") from None
    file = tar.extractfile(member)
    if file is None:
        raise Damaged(f"{name} is not a file")
    return file


def _check(tar: tarfile.TarFile, part: Part) -> None:
    digest, size = hashlib.sha256(), 0
    with _opened(tar, part.name) as file:
        while data := file.read(READ_BYTES):
            digest.update(data)
            size += len(data)
    if size != part.bytes or digest.hexdigest() != part.sha256:
        raise Damaged(f"{part.name} has changed since it was written")


def _head(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info.tobuf(tarfile.GNU_FORMAT)
