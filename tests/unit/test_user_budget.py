"""A conversation with a budget: what is admitted, what is counted, and what a restart keeps."""

from datetime import datetime, timedelta
from typing import Any

from dataflow.budget import Amount
from dataflow.budget_rules import BudgetRules
from dataflow.conversation import Conversation
from dataflow.effects import CallModel, Effect, PlaceDecision, ReservePlace, Settle, SettlePlace
from dataflow.question_queue import PENDING_LIMIT
from shared.budgets import Budgets
from shared.messages import Again, Deleted, Edited, Place, Stop
from shared.replies import Journaled, Outcome, Usage
from tests.unit.test_conversation import DM, ROOM, START, WINDOW, ask, event, reply

PRIVATE_ROOM = Place(platform="test", space="S", channel="P2", audience="private")
DAY: dict[str, Any] = {"tokens_per_day": 2500}
"""Room for two calls, each of which can take a bit more than 1,000 tokens."""


def rules(**parts: object) -> BudgetRules:
    return BudgetRules(Budgets.model_validate(parts), ("fake",), WINDOW.answer_tokens)


def talk_with(budget: BudgetRules, now: datetime = START) -> Conversation:
    talk = Conversation(WINDOW, "test:ada")
    talk.admission.set_budget(budget, now)
    return talk


def restarted(talk: Conversation, budget: BudgetRules, now: datetime = START) -> Conversation:
    again = Conversation.load(talk.dump(), WINDOW)
    again.admission.set_budget(budget, now)
    return again


def answered(
    effect: Effect, prompt: int = 0, completion: int = 0, outcome: Outcome = "answered",
    at: datetime = START, **fields: object,
) -> Journaled:  # fmt: skip
    assert isinstance(effect, CallModel | Settle)
    usage = Usage(prompt_tokens=prompt, completion_tokens=completion)
    update = {"usage": usage if prompt else None, "answered_at": at, **fields}
    return Journaled(reply(effect, outcome=outcome).reply.model_copy(update=update))


def tokens_today(talk: Conversation) -> int:
    assert talk.admission.ledger is not None
    return talk.admission.ledger.day.tokens


def only(effects: list[Effect]) -> Effect:
    (effect,) = effects
    return effect


def test_two_threads_cannot_both_pass_with_room_for_one() -> None:
    talk = talk_with(rules(each_user={"tokens_per_day": 2000}))
    places = [ROOM.model_copy(update={"thread": name}) for name in "ab"]
    first = only(talk.on_event(ask(1, place=places[0]), replayed=False))
    second = only(talk.on_event(ask(2, place=places[1]), replayed=False))
    assert isinstance(first, CallModel)
    assert isinstance(second, Settle)
    assert second.outcome == "refused"
    assert "before the ones in progress are answered" in second.text
    (notice,) = talk.admission.notices()
    assert (notice.scope, notice.refused) == ("user", True)


def test_a_used_up_budget_refuses_until_it_renews_and_then_again_works() -> None:
    budget = rules(each_user=DAY)
    talk = talk_with(budget)
    call = only(talk.on_event(ask(1), replayed=False))
    talk.on_reply(answered(call, 1500, 900))
    refused = only(talk.on_event(ask(2), replayed=False))
    assert isinstance(refused, Settle)
    assert refused.text.startswith("Your budget for today has no room for this question: 2,400")
    talk.on_reply(answered(refused, outcome="refused"))
    talk = restarted(talk, budget, START + timedelta(days=1))
    again = only(talk.on_event(event(Again, 3, prompt_id="q2"), replayed=False))
    assert isinstance(again, CallModel)
    assert again.ask.text == "q 2"


def test_roles_come_back_with_again() -> None:
    budget = rules(each_user={"tokens_per_day": 1}, roles={"test:staff": DAY})
    talk = talk_with(budget)
    staff = ask(1).model_copy(update={"roles": ("staff",)})
    talk.on_reply(answered(only(talk.on_event(staff, replayed=False)), 10, 10))
    talk = restarted(talk, budget)
    again = only(talk.on_event(event(Again, 2, prompt_id="q1"), replayed=False))
    assert isinstance(again, CallModel)
    assert isinstance(only(talk.on_event(ask(3, place=ROOM), replayed=False)), Settle)


def test_a_restart_between_reservation_and_settlement_neither_doubles_nor_loses() -> None:
    """The question keeps its room, is asked again, and its one reply is counted once."""
    budget = rules(each_user={"tokens_per_day": 2000})
    talk = talk_with(budget)
    talk.on_event(ask(1), replayed=False)
    talk = restarted(talk, budget)
    call = only(talk.resume())
    assert isinstance(call, CallModel)
    assert isinstance(only(talk.on_event(ask(2, place=ROOM), replayed=False)), Settle)
    saved = talk.dump()
    for _ in range(2):  # the reply is heard of, and after a crash once more
        talk = Conversation.load(saved, WINDOW)
        talk.admission.set_budget(budget, START)
        talk.resume()
        talk.on_reply(answered(call, 100, 50))
        assert tokens_today(talk) == 150
    talk.on_reply(answered(call, 100, 50))
    assert tokens_today(talk) == 150


def test_a_settled_question_that_comes_again_is_not_counted_again() -> None:
    budget = rules(each_user=DAY)
    talk = talk_with(budget)
    call = only(talk.on_event(ask(1), replayed=False))
    talk.on_reply(answered(call, 100, 50))
    talk = restarted(talk, budget, START + timedelta(minutes=1))
    look_up = only(talk.on_event(ask(1), replayed=True))
    talk.on_reply(answered(look_up, 100, 50))
    assert tokens_today(talk) == 150
    look_up = only(talk.on_event(ask(1), replayed=True))
    lost = START + timedelta(minutes=2)  # the journal had no reply, so the model was asked
    talk.on_reply(answered(look_up, 100, 50, at=lost))
    assert tokens_today(talk) == 300


def test_a_lost_store_is_counted_again_from_the_journal() -> None:
    """Of many questions that are read again at once, some find the queue full."""
    talk = talk_with(rules(each_user=DAY, places={"test:D1": DAY}))
    effects: list[Effect] = []
    for number in range(PENDING_LIMIT + 20):
        effects += talk.on_event(ask(number), replayed=True)
    told: list[Effect] = []
    while effects:
        effect = effects.pop()
        if isinstance(effect, ReservePlace):
            effects += talk.admission.on_decision(PlaceDecision("test:ada", effect.prompt_id, ""))
        elif isinstance(effect, SettlePlace):
            told.append(effect)
        else:
            effects += talk.on_reply(answered(effect, 100, 50))
    assert tokens_today(talk) == 150 * (PENDING_LIMIT + 20)
    assert len(told) == PENDING_LIMIT + 20


def test_what_nobody_reported_is_estimated() -> None:
    talk = talk_with(rules(each_user=DAY))
    call = only(talk.on_event(ask(1), replayed=False))
    talk.on_event(event(Stop, 2, prompt_id="q1"), replayed=False)
    estimate = Usage(prompt_tokens=100, completion_tokens=10)
    talk.on_reply(answered(call, outcome="stopped", estimated_usage=estimate))
    assert tokens_today(talk) == 130 + 13  # by the first ratio
    failed = only(talk.on_event(ask(3), replayed=False))
    talk.on_reply(answered(failed, outcome="failed"))
    assert tokens_today(talk) == 143


def test_a_place_is_asked_before_the_model_and_told_afterwards() -> None:
    talk = talk_with(rules(places={"test:C1": DAY}))
    asked = only(talk.on_event(ask(1, place=ROOM), replayed=False))
    assert isinstance(asked, ReservePlace)
    assert (asked.budget, asked.prompt_id) == ("test:C1", "q1")
    assert talk.on_event(ask(2, place=ROOM), replayed=False) == []  # its thread is held
    assert isinstance(only(talk.on_event(ask(3, place=DM), replayed=False)), CallModel)
    call = only(talk.admission.on_decision(PlaceDecision("test:ada", "q1", "")))
    assert isinstance(call, CallModel)
    assert talk.admission.on_decision(PlaceDecision("test:ada", "q1", "")) == []
    told, following = talk.on_reply(answered(call, 100, 50))
    assert isinstance(told, SettlePlace)
    assert (told.prompt_id, told.used) == ("q1", Amount(150))
    assert isinstance(following, ReservePlace)
    assert following.prompt_id == "q2"


def test_a_full_place_refuses_and_holds_nothing() -> None:
    talk = talk_with(rules(places={"test:C1": DAY}, each_user=DAY))
    talk.on_event(ask(1, place=ROOM), replayed=False)
    refused = only(talk.admission.on_decision(PlaceDecision("test:ada", "q1", "Used up.")))
    assert isinstance(refused, Settle)
    assert (refused.outcome, refused.text) == ("refused", "Used up.")
    talk.on_reply(answered(refused, outcome="refused"))
    assert talk.admission.ledger is not None
    assert (talk.admission.ledger.held, tokens_today(talk)) == ({}, 0)


def test_a_restart_asks_the_place_again() -> None:
    budget = rules(places={"test:C1": DAY})
    talk = talk_with(budget)
    talk.on_event(ask(1, place=ROOM), replayed=False)
    talk = restarted(talk, budget)
    assert isinstance(only(talk.resume()), ReservePlace)
    assert isinstance(
        only(talk.admission.on_decision(PlaceDecision("test:ada", "q1", ""))), CallModel
    )
    assert isinstance(only(restarted(talk, budget).resume()), ReservePlace)


def test_a_question_can_be_stopped_deleted_or_edited_while_its_place_decides() -> None:
    for kind, outcome in ((Stop, "stopped"), (Deleted, "withdrawn")):
        talk = talk_with(rules(places={"test:C1": DAY}))
        talk.on_event(ask(1, place=ROOM), replayed=False)
        effects = talk.on_event(event(kind, 2, place=ROOM, prompt_id="q1"), replayed=False)
        settle = effects[-1]
        assert isinstance(settle, Settle)
        assert settle.outcome == outcome
        assert talk.admission.on_decision(PlaceDecision("test:ada", "q1", "")) == []
        told = only(talk.on_reply(answered(settle, outcome=settle.outcome)))
        assert isinstance(told, SettlePlace)  # which frees the room
        assert told.used == Amount()
    talk = talk_with(rules(places={"test:C1": DAY}))
    talk.on_event(ask(1, place=ROOM), replayed=False)
    edited = event(Edited, 2, place=ROOM, prompt_id="q1", text="new words")
    assert isinstance(only(talk.on_event(edited, replayed=False)), ReservePlace)
    call = only(talk.admission.on_decision(PlaceDecision("test:ada", "q1", "")))
    assert isinstance(call, CallModel)
    assert call.ask.text == "new words"
    assert talk.admission.on_decision(PlaceDecision("test:ada", "q1", "")) == []


def test_counters_survive_a_run_without_budgets() -> None:
    budget = rules(each_user=DAY)
    talk = talk_with(budget)
    talk.on_reply(answered(only(talk.on_event(ask(1), replayed=False)), 100, 50))
    without = Conversation.load(talk.dump(), WINDOW)
    assert isinstance(only(without.on_event(ask(2), replayed=False)), CallModel)
    assert tokens_today(restarted(without, budget)) == 150
    assert b"budget" not in Conversation(WINDOW, "test:bob").dump()
