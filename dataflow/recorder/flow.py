"""The recorder's flow: stored messages in, rows out.

The only place in which its parts are put together as a Bytewax dataflow.
"""

from collections.abc import Mapping

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from dataflow.recorder.changes import Stored, changes_of
from dataflow.recorder.database_sink import DatabaseSink, Readable
from dataflow.recorder.streams_source import StreamsSource
from shared import metrics
from shared.event_parsing import Unreadable
from shared.log import logger
from shared.prices import Price


def recorder_flow(
    source: StreamsSource, sink: DatabaseSink, prices: Mapping[str, Price]
) -> Dataflow:
    """Turns each message into changes of the database, and writes them in batches."""

    def readable(stored: Stored) -> Readable:
        try:
            return Readable(stored, changes_of(stored, prices))
        except Unreadable as error:  # the conversations flow makes it a dead letter
            why = error.reason
        except Exception:  # noqa: BLE001  (a defect must not stop the messages after it)
            logger().exception("defect while reading", stream=stored.stream)
            why = "defect"
        metrics.not_recorded.labels("unreadable").inc()
        logger().warning(
            "a message is not recorded", stream=stored.stream, sequence=stored.sequence, why=why
        )
        return Readable(stored, [])

    flow = Dataflow("recorder")
    messages = op.input("streams", flow, source)
    changes = op.map("changes", messages, readable)
    op.output("database", changes, sink)
    return flow
