"""The conversations flow: events in, one journaled reply per question out.

The only place in which its parts are put together as a Bytewax dataflow.
"""

from typing import cast

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.operators import KeyedStream

from dataflow.answering import Answering
from dataflow.completions_source import CompletionsSource
from dataflow.conversation_step import ConversationStep, Heard
from dataflow.erasing.erasing import Erasing
from dataflow.eviction.idle import IdleConversations
from dataflow.eviction.store import EvictedStore
from dataflow.io_thread import IoThread
from dataflow.model_sink import ModelSink
from dataflow.prompts_source import PromptsSource
from dataflow.tokens import Window
from shared.bus import Bus


def conversations_flow(
    io: IoThread,
    bus: Bus,
    answering: Answering,
    *,
    window: Window,
    evicted: EvictedStore,
    idle: IdleConversations,
    erasing: Erasing,
) -> Dataflow:
    """Sends prompts and completed replies, keyed by user, through each user's conversation."""
    flow = Dataflow("conversations")
    # Must be the first input: an idle worker sleeps in it, so whatever wakes the worker is read in
    # the same step.
    completions = op.input("completions", flow, CompletionsSource(io, answering, idle))
    prompts = op.input("prompts", flow, PromptsSource(io, bus))
    heard = cast("KeyedStream[Heard]", op.merge("heard", prompts, completions))
    step = ConversationStep.builder(window, evicted, idle)
    effects = op.stateful_batch("conversation", heard, step)
    op.output("model", effects, ModelSink(io, answering, evicted, erasing))
    return flow
