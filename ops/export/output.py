"""Writes the rows of an export to a private file, in one of the formats.

The file appears under its name only when it is complete.
"""

import csv
import glob
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from ops.export.contents import Format, Row
from ops.export.table import COLUMNS
from shared.private_file import make_folder, sync_folder

TEMPORARY: Final = ".export.tmp"

PARQUET_ROWS: Final = 5_000
"""The rows of a group, which is in memory until it is written."""


class Sink(Protocol):
    """Takes the rows of one format."""

    def write(self, row: Row) -> None:
        """Writes a row."""

    def end(self) -> None:
        """Writes what is still missing."""


class Unfinished:
    """A file under a temporary name, until `rename` gives it its own."""

    def __init__(self, path: Path) -> None:
        make_folder(path.parent)
        self.path = path
        for left in path.parent.glob(f".{glob.escape(path.name)}.*{TEMPORARY}"):
            left.unlink()  # of an export that was killed
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        self.file: io.BufferedRandom = os.fdopen(os.open(self._temporary, flags, 0o600), "w+b")

    def hash(self) -> str:
        """The SHA-256 of the complete contents, which are then on the disk."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.seek(0)
        return hashlib.file_digest(self.file, "sha256").hexdigest()

    def rename(self) -> None:
        """Gives the file its name."""
        self.file.close()
        self._temporary.replace(self.path)
        sync_folder(self.path.parent)

    def discard(self) -> None:
        """Deletes the file, unless it has its name already."""
        self.file.close()
        with suppress(FileNotFoundError):
            self._temporary.unlink()


@contextmanager
def unfinished(path: Path) -> Iterator[Unfinished]:
    """A file to write, which is discarded unless it is renamed.

    Raises:
        OSError: it cannot be written.
    """
    file = Unfinished(path)
    try:
        yield file
    finally:
        file.discard()


def write(file: BinaryIO, format_: Format, rows: Iterable[Row]) -> None:
    """Writes all rows."""
    sink = _sink(file, format_)
    for row in rows:
        sink.write(row)
    sink.end()


def _sink(file: BinaryIO, format_: Format) -> Sink:
    match format_:
        case "chat" | "dpo":
            return _Lines(file)
        case "csv":
            return _Csv(file)
        case "parquet":
            return _Parquet(file)


class _Lines:
    """One JSON object per line."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, row: Row) -> None:
        self._file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")

    def end(self) -> None:
        pass


class _Csv:
    """RFC 4180, in UTF-8, with a head."""

    def __init__(self, file: BinaryIO) -> None:
        self._text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        self._rows = csv.DictWriter(self._text, list(COLUMNS))
        self._rows.writeheader()

    def write(self, row: Row) -> None:
        self._rows.writerow(row)

    def end(self) -> None:
        self._text.detach()


class _Parquet:
    """Apache Parquet, compressed with zstd."""

    def __init__(self, file: BinaryIO) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        types: dict[type, Any] = {str: pa.string(), int: pa.int64()}
        self._schema = pa.schema([(name, types[kind]) for name, kind in COLUMNS.items()])
        self._table = pa.Table
        self._writer = pq.ParquetWriter(file, self._schema, compression="zstd")
        self._rows: list[Row] = []

    def write(self, row: Row) -> None:
        self._rows.append(row)
        if len(self._rows) == PARQUET_ROWS:
            self._flush()

    def end(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(self._table.from_pylist(self._rows, schema=self._schema))
            self._rows.clear()
