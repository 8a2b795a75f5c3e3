"""The conversations flow: events in, one journaled reply per question out.

The only place in which its parts are put together as a Bytewax dataflow.
"""

from typing import TypeGuard, cast

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.operators import KeyedStream

from dataflow.account_links import AccountLinks
from dataflow.answering import Answering
from dataflow.budget_rules import BudgetRules
from dataflow.completions_source import CompletionsSource
from dataflow.conversation_step import ConversationStep, Heard
from dataflow.effects import Effect, Evict, PlaceDecision, PlaceEffect
from dataflow.erasing.erasing import Erasing
from dataflow.eviction.idle import IdleConversations
from dataflow.eviction.store import EvictedStore
from dataflow.io_thread import IoThread
from dataflow.model_sink import ModelSink, ToDo
from dataflow.place_budget_step import PlaceBudgetStep
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
    budgets: BudgetRules | None = None,
    keep_days: int | None = None,
    links: AccountLinks | None = None,
) -> Dataflow:
    """Sends prompts and completed replies, keyed by user, through each user's conversation."""
    flow = Dataflow("conversations")
    # Must be the first input: an idle worker sleeps in it, so whatever wakes the worker is read in
    # the same step.
    completions = op.input("completions", flow, CompletionsSource(io, answering, idle))
    prompts = op.input("prompts", flow, PromptsSource(io, bus))
    heard = cast("KeyedStream[Heard]", op.merge("heard", prompts, completions))
    step = ConversationStep.builder(
        window, evicted, idle, budgets, keep_days=keep_days, links_accounts=links is not None
    )
    effects = op.stateful_batch("conversation", heard, step)
    todo = cast("KeyedStream[ToDo]", effects)
    if budgets is not None and budgets.budgets.places:
        todo = _with_place_budgets(effects, budgets)
    op.output("model", todo, ModelSink(io, answering, evicted, erasing, links))
    return flow


def _with_place_budgets(
    effects: KeyedStream[Effect | Evict], budgets: BudgetRules
) -> KeyedStream[ToDo]:
    """Sends what concerns the budget of a place through the step that keeps it."""
    parts = op.branch("has place budget", effects, _is_for_place)
    by_place = op.map("by place", parts.trues, _by_place)
    decided = op.stateful_batch("place budget", by_place, PlaceBudgetStep.builder(budgets))
    decisions = op.map("by user", decided, _by_user)
    return cast("KeyedStream[ToDo]", op.merge("to do", parts.falses, decisions))


def _is_for_place(item: tuple[str, Effect | Evict]) -> TypeGuard[tuple[str, PlaceEffect]]:
    return isinstance(item[1], PlaceEffect)


def _by_place(item: tuple[str, PlaceEffect]) -> tuple[str, PlaceEffect]:
    return item[1].budget, item[1]


def _by_user(item: tuple[str, PlaceDecision]) -> tuple[str, PlaceDecision]:
    return item[1].user, item[1]
