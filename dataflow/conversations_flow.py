"""The conversations flow: events in, one journaled reply per question out.

The only place in which its parts are put together as a Bytewax dataflow. Each process runs it on
one worker, with the partitions that it holds at the moment.
"""

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from dataflow.conversation_step import ConversationStep, Rules, SetAside
from dataflow.heard_source import HeardSource
from dataflow.io_thread import IoThread
from dataflow.model_sink import Doers, ModelSink
from dataflow.partitions.in_memory import InMemory, Storage


def conversations_flow(
    io: IoThread,
    in_memory: InMemory,
    storage: Storage,
    *,
    doers: Doers,
    rules: Rules,
    set_aside: SetAside,
) -> Dataflow:
    """Sends what is heard, keyed by user, through each user's conversation."""
    flow = Dataflow("conversations")
    heard = op.input("heard", flow, HeardSource(io, in_memory, storage))
    step = ConversationStep.builder(rules, in_memory, set_aside)
    effects = op.stateful_batch("conversation", heard, step)
    op.output("effects", effects, ModelSink(io, doers))
    return flow
