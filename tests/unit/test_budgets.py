"""The setting of budgets, whose limits apply, and the sentences about them."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from dataflow.budget import Amount, Limit, Shortage
from dataflow.budget_rules import BudgetRules
from dataflow.budget_settings import experiments_of, rules_of
from dataflow.budget_wording import refusal
from dataflow.effects import PlaceDecision, ReservePlace
from dataflow.model.endpoint import window_of
from dataflow.place_budgets import PlaceBudgets
from dataflow.store.sqlite import SqliteStore
from dataflow.tokens import message_tokens
from ops.setting_errors import fault_lines
from shared.budgets import Budgets
from shared.experiments import Experiment
from shared.messages import Ask, Place
from shared.prices import Price
from shared.replies import Reply, Usage
from shared.settings import Settings

ROOM = Place(platform="slack", space="T1", channel="C1", audience="public")
AT = datetime(2026, 11, 26, 21, 30, tzinfo=UTC)


def ask(*roles: str, user: str = "slack:ada", place: Place = ROOM, model: str | None = None) -> Ask:
    return Ask(id="q1", user=user, place=place, said_at=AT, text="Hi?", roles=roles, model=model)


def reply(**fields: object) -> Reply:
    return Reply(
        prompt_id="q1", user="slack:ada", place=ROOM, outcome="answered", text="Yes.",
        said_at=AT, answered_at=AT, **fields,
    )  # fmt: skip


def rules(answer_tokens: int = 100, **parts: object) -> BudgetRules:
    prices = {"mine": Price(input=1, output=10, cached_input=0), "dear": Price(input=2, output=20)}
    return BudgetRules(Budgets.model_validate(parts), ("mine",), answer_tokens, prices)


def limits_of(budgets: BudgetRules, asked: Ask) -> dict[str, int]:
    own = budgets.of_person(asked)
    return {f"{limit.unit} {limit.period}": limit.most for limit in own.limits}


def test_a_named_person_comes_before_their_roles_and_these_before_everybody() -> None:
    budgets = rules(
        each_user={"tokens_per_day": 1000},
        users={"slack:bob": {"tokens_per_day": 9000}, "slack:root": {}},
        roles={"slack:guest": {"tokens_per_day": 10}, "discord:guest": {"tokens_per_day": 1}},
    )
    assert limits_of(budgets, ask()) == {"tokens day": 1000}
    assert limits_of(budgets, ask("unknown")) == {"tokens day": 1000}
    assert limits_of(budgets, ask("guest")) == {"tokens day": 10}
    assert limits_of(budgets, ask("guest", user="slack:bob")) == {"tokens day": 9000}
    assert limits_of(budgets, ask("guest", user="slack:root")) == {}


def test_the_most_generous_limit_of_several_roles_counts() -> None:
    """A role without a limit of some kind is the most generous one."""
    budgets = rules(
        roles={
            "slack:a": {"tokens_per_day": 10, "dollars_per_month": "0.5", "tokens_per_month": 99},
            "slack:b": {"tokens_per_day": 30, "dollars_per_month": "0.2"},
        }
    )
    assert limits_of(budgets, ask("a", "b")) == {"tokens day": 30, "dollars month": 500_000}


def test_the_narrowest_place_counts() -> None:
    budgets = Budgets.model_validate(
        {"places": {"slack": {}, "slack:T1": {}, "slack:C1": {}, "discord:T1": {}}}
    )
    assert budgets.place_of(ROOM) == "slack:C1"
    assert budgets.place_of(ROOM.model_copy(update={"channel": "C2"})) == "slack:T1"
    assert budgets.place_of(ROOM.model_copy(update={"channel": "C2", "space": ""})) == "slack"
    assert budgets.place_of(Place(platform="test", channel="C1", audience="direct")) is None


def test_an_adapter_reports_only_roles_that_have_limits() -> None:
    budgets = Budgets.model_validate({"roles": {"slack:guest": {}, "discord:12": {}}})
    assert budgets.roles_on("discord") == {"12"}
    assert Budgets().roles_on("slack") == frozenset()


def test_a_call_reserves_its_prompt_and_its_longest_answer_at_the_dearest_price() -> None:
    budgets = rules()
    assert budgets.largest(ask(), 50) == Amount(150, 50 + 1000)
    with_fallback = BudgetRules(budgets.budgets, ("mine", "dear"), 100, budgets.prices)
    assert with_fallback.largest(ask(), 50) == Amount(150, 100 + 2000)
    assert budgets.largest(ask(model="unknown"), 50) == Amount(150, 0)


def test_the_model_of_an_experiment_counts_for_those_who_take_part() -> None:
    trial = Experiment(name="trial", percent=100, model="dear")
    plain = rules()
    budgets = replace(plain, experiments=(trial,))
    assert budgets.largest(ask(), 50) == Amount(150, 100 + 2000)
    assert budgets.largest(ask(model="mine"), 50) == plain.largest(ask(), 50)  # the place decides
    stopped = reply(experiment="trial", estimated_usage=Usage(prompt_tokens=20))
    assert budgets.used(ask(), stopped, 1.0) == Amount(20, 40)
    limited = Budgets.model_validate({"each_user": {"dollars_per_day": 1}})
    unknown = Experiment(name="trial", percent=1, model="llama")
    (line,) = replace(plain, budgets=limited, experiments=(unknown,)).complaints()
    assert line.startswith("the price of llama is unknown")


@pytest.mark.parametrize(
    "stored",
    [b'{"day":{"begins":"2026-11-26","tokens":9,"warned":["requests"]}}', b"{", b"\xff"],
)
async def test_the_budget_of_a_place_that_a_newer_version_stored_begins_again(
    tmp_path: Path, stored: bytes
) -> None:
    """It must not end the dataflow of everybody at each start."""
    store = SqliteStore(tmp_path / "conversations.db")
    await store.open(1)
    await store.change_place("slack:C1", lambda _: stored)
    places = PlaceBudgets(store, rules(places={"slack:C1": {"tokens_per_day": 1000}}))
    decided: asyncio.Future[PlaceDecision] = asyncio.get_running_loop().create_future()
    asked = ReservePlace("slack:C1", "slack:ada", "q1", ROOM, Amount(1000))
    places.take(asked, lambda _, decision: decided.set_result(decision))
    async with asyncio.timeout(20):
        assert (await decided).refusal == ""
    await places.close()
    await store.close()


def test_a_reply_costs_what_was_reported_and_an_estimate_of_the_rest() -> None:
    budgets = rules()
    reported = Usage(prompt_tokens=10, completion_tokens=5, cached_tokens=4)
    estimated = Usage(prompt_tokens=20, completion_tokens=2)
    assert budgets.used(ask(), reply(usage=reported), 1.5) == Amount(15, 6 + 50)
    assert budgets.used(ask(), reply(estimated_usage=estimated), 1.5) == Amount(33, 30 + 30)
    both = reply(usage=reported, estimated_usage=estimated, model="dear")
    assert budgets.used(ask(), both, 1.0) == Amount(15 + 22, 20 + 100 + 40 + 40)
    assert budgets.used(ask(), reply(), 1.5) == Amount()


EVERYBODY = {"percent": 100}
DEAR = Experiment(name="dear", model="dear", **EVERYBODY)
BRIEF = Experiment(name="brief", prompt="x" * 400, **EVERYBODY)


def with_experiment(experiment: Experiment, *models: str) -> BudgetRules:
    usual = rules()
    return BudgetRules(
        usual.budgets, models or ("mine",), 100, usual.prices, experiments=(experiment,)
    )


def test_a_call_of_an_experiment_reserves_at_the_price_of_its_model() -> None:
    """If it fails, the usual model answers, but not the fallback."""
    assert with_experiment(DEAR).largest(ask(), 50) == Amount(150, 100 + 2000)
    cheap = DEAR.model_copy(update={"model": "mine"})
    assert with_experiment(cheap, "dear", "mine").largest(ask(), 50) == Amount(150, 100 + 2000)
    assert with_experiment(cheap, "mine", "dear").largest(ask(), 50) == Amount(150, 50 + 1000)
    nobody = DEAR.model_copy(update={"percent": 1e-9})
    assert with_experiment(nobody).largest(ask(), 50) == Amount(150, 50 + 1000)
    assert with_experiment(DEAR).largest(ask(model="mine"), 50) == Amount(150, 50 + 1000)
    longer = 50 + message_tokens("x" * 400)
    assert with_experiment(BRIEF).largest(ask(), 50) == Amount(longer + 100, longer + 1000)


def test_a_reply_of_an_experiment_costs_what_its_model_costs() -> None:
    """A reply that was stopped names its experiment, but no model."""
    budgets = with_experiment(DEAR)
    used = Usage(prompt_tokens=10, completion_tokens=5)
    answered = reply(usage=used, model="dear", experiment="dear")
    assert budgets.used(ask(), answered, 1.0) == Amount(15, 20 + 100)
    stopped = reply(estimated_usage=used, experiment="dear")
    assert budgets.used(ask(), stopped, 1.0) == Amount(15, 20 + 100)
    fell_back = reply(usage=used, model="mine", experiment="dear")
    assert budgets.used(ask(), fell_back, 1.0) == Amount(15, 10 + 50)
    for other in ("", "brief", "one of yesterday"):
        unnamed = reply(estimated_usage=used, experiment=other)
        assert budgets.used(ask(), unnamed, 1.0) == Amount(15, 10 + 50)


def test_the_price_of_an_experiment_s_model_must_be_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An endpoint of its own is asked for the usual model, unless the experiment names another."""
    experiments = [
        {"name": "a", "percent": 1, "model": "llama"},
        {"name": "b", "percent": 1, "base_url": "http://127.0.0.1:9/v1"},
        {"name": "c", "percent": 1, "prompt": "Be brief."},
    ]
    monkeypatch.setenv("THREADWAX_HOME", str(tmp_path))
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    monkeypatch.setenv("THREADWAX_MODEL", "mine")
    monkeypatch.setenv("THREADWAX_PRICES", '{"mine": {"input": 1, "output": 10}}')
    monkeypatch.setenv("THREADWAX_BUDGETS", '{"each_user": {"dollars_per_day": 1}}')
    monkeypatch.setenv("THREADWAX_EXPERIMENTS", json.dumps(experiments))
    settings = Settings()
    assert [one.model for one in experiments_of(settings)] == ["llama", "mine", None]
    found = rules_of(settings, window_of(settings))
    assert found is not None
    (line,) = found.complaints()
    assert line.startswith("the price of llama is unknown")


def test_unknown_prices_and_limits_below_one_answer_are_reported() -> None:
    unknown = BudgetRules(
        Budgets.model_validate({"each_user": {"dollars_per_day": 1}}), ("llama",), 10
    )
    (line,) = unknown.complaints()
    assert line.startswith("the price of llama is unknown")
    small = rules(places={"slack:C1": {"tokens_per_day": 100, "tokens_per_month": 101}})
    (line,) = small.complaints()
    assert line.startswith("places.slack:C1: 100 tokens per day is less than one answer can take")
    assert list(rules(each_user={"dollars_per_day": 5}).complaints()) == []


USED_UP = (
    "Your budget for today is used up: 1,000 tokens of 1,000 tokens. It renews at 00:00 UTC, in "
    "about 2 hours. Please ask again then."
)
NO_ROOM = (
    "Your budget for today has no room for this question: 800 tokens of 1,000 tokens are used, and "
    "an answer can take up to 300 tokens. It renews at 00:00 UTC, in about 2 hours. Please ask "
    "again then."
)
OTHERS = (
    "Your budget for today has no room for another question before the ones in progress are "
    "answered: 100 tokens of 1,000 tokens are used, 800 tokens are held for answers in progress. "
    "Please ask again after them. It renews"
)
NEVER = (
    "Your budget for a day is 1,000 tokens, and an answer to this question can take up to 1,001 "
    "tokens. A shorter question may fit. Otherwise, please let whoever runs this bot know."
)


@pytest.mark.parametrize(
    ("used", "held", "needs", "words"),
    [(1000, 0, 300, USED_UP), (800, 0, 300, NO_ROOM), (100, 800, 300, OTHERS), (0, 0, 1001, NEVER)],
)
def test_a_refusal_says_which_budget_how_much_and_when_it_renews(
    used: int, held: int, needs: int, words: str
) -> None:
    renews = datetime(2026, 11, 27, tzinfo=UTC)
    short = Shortage(Limit("day", "tokens", 1000), used, held, needs, renews)
    assert refusal(short, "Your budget", AT).startswith(words)


def test_a_monthly_limit_in_dollars_names_the_date() -> None:
    renews = datetime(2026, 12, 1, tzinfo=UTC)
    limit = Limit("month", "dollars", 5_000_000)
    short = Shortage(limit, 5_012_345, 0, 1, renews)
    assert refusal(short, "The budget of this channel", AT) == (
        "The budget of this channel for this month is used up: $5.01 of $5.00. It renews on 1 "
        "December at 00:00 UTC. Please ask again then."
    )
    short = Shortage(limit, 4_999_900, 0, 4_200, renews)
    assert "can take up to $0.0042" in refusal(short, "Your budget", AT)


def test_every_wrong_field_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wrong = {
        "each_user": {"tokens_per_day": "many", "token_per_month": 1},
        "users": {"ada": {}},
        "roles": {"slack:guest": {"dollars_per_day": -1}},
        "places": {"a b": {}, "slack:C1": 3},
        "everyone": {},
    }
    monkeypatch.setenv("THREADWAX_HOME", str(tmp_path))
    monkeypatch.setenv("THREADWAX_BUDGETS", json.dumps(wrong))
    with pytest.raises(ValidationError) as caught:
        Settings()
    lines = list(fault_lines(caught.value, Settings, lambda _: "here"))
    named = (
        "each_user.tokens_per_day", "each_user.token_per_month", "ada",
        "roles.slack:guest.dollars_per_day", "a b", "places.slack:C1", "everyone",
    )  # fmt: skip
    assert len(lines) == len(named)
    for name in named:
        assert any("THREADWAX_BUDGETS: in" in line and name in line for line in lines), lines


def test_budgets_can_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "budgets.json"
    file.write_text('{"each_user": {"dollars_per_month": 1.5}}')
    monkeypatch.setenv("THREADWAX_HOME", str(tmp_path))
    monkeypatch.setenv("THREADWAX_BUDGETS", str(file))
    found = Settings().budgets
    assert found.limit_dollars
    assert found
    monkeypatch.delenv("THREADWAX_BUDGETS")
    assert not Settings().budgets
