"""Writes what the messages change, batch by batch. Blocks while the database is away.

A message that cannot be stored is skipped and counted, so that it never keeps later ones out.
"""

from typing import Final, NamedTuple

from bytewax.outputs import DynamicSink, StatelessSinkPartition

from dataflow.recorder.batch import Batch
from dataflow.recorder.changes import Change, Stored
from dataflow.recorder.database import Abandoned, Database, Unstorable
from dataflow.recorder.writer import write
from shared import metrics, names, tracing
from shared.log import logger

BATCH_BYTES: Final = 8 << 20
"""The largest messages would otherwise make transactions of hundreds of megabytes."""


class Readable(NamedTuple):
    """A message and what it changes; nothing if it cannot be read."""

    stored: Stored
    changes: list[Change]


class DatabaseSink(DynamicSink[Readable]):
    """The sink of the recorder."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.written = 0
        """Messages whose changes are in the database."""
        self.in_progress: Stored | None = None
        """The oldest message that is being written."""

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "DatabaseSinkPartition":
        """The sink of the first worker."""
        del step_id, worker_index, worker_count
        return DatabaseSinkPartition(self._database, self)


class DatabaseSinkPartition(StatelessSinkPartition[Readable]):
    """Writes in the worker's thread, which has nothing else to do."""

    def __init__(self, database: Database, sink: DatabaseSink) -> None:
        self._database = database
        self._sink = sink
        self._abandoned = False

    def write_batch(self, items: list[Readable]) -> None:
        """Writes messages together with the positions after them."""
        if self._abandoned:
            return  # later positions must not be stored after a batch that was not
        self._sink.in_progress = min((item.stored for item in items), key=lambda s: s.stored_at)
        try:
            self._write(items)
        except Abandoned:
            self._abandoned = True
            logger().warning("stopped while the database was away: it is caught up at the start")
        else:
            self._sink.in_progress = None

    def _write(self, items: list[Readable]) -> None:
        batch, size = Batch(), 0
        pending: list[Readable] = []
        for item in items:
            batch.add(item.stored, item.changes)
            pending.append(item)
            size += len(item.stored.data)
            if size > BATCH_BYTES:
                self._commit(batch, pending)
                batch, size, pending = Batch(), 0, []
        if pending:
            self._commit(batch, pending)

    def _commit(self, batch: Batch, items: list[Readable]) -> None:
        try:
            self._database.write(write, batch)
        except Unstorable as error:
            self._one_by_one(items, error)
        else:
            for table, rows in batch.counts().items():
                metrics.recorded.labels(table).inc(rows)
            self._sink.written += len(items)
            for item in items:
                if item.stored.stream == names.REPLIES:
                    prompt_id = item.stored.subject.rpartition(".")[2]
                    tracing.recorded(prompt_id, item.stored.stored_at)

    def _one_by_one(self, items: list[Readable], error: Unstorable) -> None:
        if len(items) > 1:
            for item in items:
                single = Batch()
                single.add(item.stored, item.changes)
                self._commit(single, [item])
            return
        stored = items[0].stored
        metrics.not_recorded.labels("unstorable").inc()
        logger().error(
            "a message cannot be recorded: it is skipped",
            stream=stored.stream, sequence=stored.sequence, why=str(error),
        )  # fmt: skip
        skipped = Batch()
        skipped.add(stored, [])
        self._database.write(write, skipped)
