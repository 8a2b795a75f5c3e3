"""The figures of the dashboard, compared with sums over the same rows in plain Python."""

import asyncio
import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dataflow.effects import BROKEN_OFF
from dataflow.recorder.figures import GROUPS_LIMIT, figures_of, own_usage_of, stages
from dataflow.recorder.figures_queries import BROKE_OFF
from ops.nats_server import NatsServer
from shared import names
from shared.budgets import NO_BUDGETS, Budgets
from shared.bus import Bus
from shared.database.engine import writing
from shared.database.tables import metadata
from shared.figures import OTHERS, UNANSWERED, Figures, Range, ServerFigures, Used
from shared.operators_figures import operators_figures
from shared.own_history import own_usage
from shared.pieces import NotNow
from shared.prices import PRICES, Price
from shared.streams import set_up
from tests.recorded import opened
from tests.restricted_nats import restricted_nats
from tests.running import Running

NOW = datetime(2026, 11, 26, 12, 34, 56, 789000, tzinfo=UTC)
NO_SERVER = ServerFigures(streams=None, adapters=None, dead_letters=None, recorder_lag_s=0)
PRICED = "gpt-6-luna"
SET_LATER = "priced-later"
UNPRICED = "llama-of-mine"
MODELS = (PRICED, SET_LATER, UNPRICED, "demo")
PRICES_NOW = {SET_LATER: Price(input=2, output=4)}
WORDS = "words of a person"
Rows = dict[str, list[dict[str, Any]]]


def rows_of(seed: int) -> Rows:
    """Questions of 40 days by six people in 26 places, with everything that can be missing."""
    rng = random.Random(seed)
    rows: Rows = {table: [] for table in ("questions", "answers", "background_usage", "ratings")}
    for number in range(600):
        id_ = f"q{number}"
        # A third of them is of the last day, and some are from the very edge of a range.
        age_h = rng.choice((rng.uniform(0, 24), rng.uniform(0, 960), rng.choice((24, 168, 720))))
        said_at = NOW - timedelta(hours=age_h, milliseconds=rng.randrange(5000))
        stored_at = said_at + timedelta(milliseconds=rng.randrange(-50, 400))
        platform = rng.choice(("slack", "discord", "web"))
        user = f"{platform}:u{rng.randrange(2)}"
        kind = rng.choices(("ask", "again", "edited"), (8, 1, 1))[0]
        if rng.random() < 0.95:
            rows["questions"].append({
                "prompt_id": id_, "user_id": user, "platform": platform, "space": "T1/x",
                "channel": f"C{rng.randrange(26)}", "thread": "", "audience": "public",
                "alone": False, "kind": kind, "text": WORDS, "said_at": said_at,
                "stored_at": stored_at, "deleted_at": rng.choice((None, None, None, stored_at)),
            })  # fmt: skip
        if rng.random() < 0.9:
            answer(rng, rows, id_, user, stored_at)
    return rows


def answer(rng: random.Random, rows: Rows, id_: str, user: str, stored_at: datetime) -> None:
    def later(at: datetime, up_to_ms: int) -> datetime:
        return at + timedelta(milliseconds=rng.randrange(1, up_to_ms))

    outcome = rng.choice(("answered",) * 6 + ("failed", "refused", "stopped", "withdrawn"))
    is_called = outcome != "refused" and rng.random() < 0.9
    called_at = later(stored_at, 3000) if is_called else None
    first = later(called_at, 2000) if called_at and rng.random() < 0.8 else None
    answered_at = later(first or called_at or stored_at, 9000)
    text: str | None = WORDS
    if outcome == "refused":
        text = f"Your budget is used: {rng.randrange(99):,} of 1,000 tokens. It renews at 00:00."
    elif outcome == "failed":
        text = "My model is away." if first is None else WORDS + BROKEN_OFF.format(notice="Away.")
        if first is not None and rng.random() < 0.3:
            first = None  # an answer of a version that did not record times
        text = rng.choice((text, text, None))
    model = rng.choice(MODELS) if is_called else ""
    rows["answers"].append({
        "prompt_id": id_, "user_id": user, "outcome": outcome, "text": text, "prompt_text": WORDS,
        "model": model, **used(rng, model), "said_at": stored_at, "called_at": called_at,
        "first_token_at": first, "answered_at": answered_at, "journaled_at": answered_at,
        "shown_at": rng.choice((None, later(answered_at, 800))),
    })  # fmt: skip
    for part in range(rng.choice((0, 0, 0, 2))):
        model = rng.choice(MODELS)
        rows["background_usage"].append({
            "prompt_id": id_, "number": part, "user_id": user, "kind": "summary", "model": model,
            **used(rng, model), "said_at": stored_at, "journaled_at": answered_at,
        })  # fmt: skip
    for rater in range(rng.choice((0, 0, 1, 2))):
        rows["ratings"].append({
            "prompt_id": id_, "user_id": f"web:r{rater}", "thumb": rng.choice(("up", "down")),
            "reason": WORDS, "rated_at": later(answered_at, 3_600_000),
        })  # fmt: skip


def used(rng: random.Random, model: str) -> dict[str, int | None]:
    if not model or rng.random() < 0.2:
        return {"prompt_tokens": None, "completion_tokens": None, "cost_microdollars": None}
    sent, said = rng.randrange(1, 5000), rng.randrange(1, 900)
    cost = {PRICED: sent * PRICES[PRICED].input + said * PRICES[PRICED].output, "demo": 0}
    known = cost.get(model)
    return {
        "prompt_tokens": sent, "completion_tokens": said,
        "cost_microdollars": None if known is None else round(known),
    }  # fmt: skip


@pytest.fixture(name="engine")
def _engine(database_url: str) -> Iterator[sa.Engine]:
    engine = opened(database_url)
    yield engine
    engine.dispose()


def insert(engine: sa.Engine, rows: Rows) -> None:
    with writing(engine) as connection:
        for table, found in rows.items():
            if found:
                connection.execute(metadata.tables[table].insert(), found)


def computed(engine: sa.Engine, hours: int, budgets: Budgets = NO_BUDGETS) -> Figures:
    with engine.connect() as connection:
        return figures_of(
            connection, Range(hours=hours), NOW, prices=PRICES_NOW, budgets=budgets,
            server=NO_SERVER,
        )  # fmt: skip


def bucket(at: datetime, hours: int) -> str:
    return at.strftime("%Y-%m-%dT%H:00" if hours <= 48 else "%Y-%m-%d")


def expected_used(key: str, calls: list[dict[str, Any]]) -> Used:
    cost = unknown = 0
    for call in calls:
        if call["prompt_tokens"] is None:
            # A call that gave no text cost nothing; the others did, however they ended.
            is_call = call.get("outcome", "answered") == "answered" or call["first_token_at"]
            unknown += bool(is_call)
        elif call["cost_microdollars"] is not None:
            cost += call["cost_microdollars"]
        elif call["model"] == SET_LATER:
            cost += 2 * call["prompt_tokens"] + 4 * call["completion_tokens"]
        else:
            unknown += 1
    return Used(
        key=key,
        questions=sum("outcome" in call for call in calls),
        input_tokens=sum(call["prompt_tokens"] or 0 for call in calls),
        output_tokens=sum(call["completion_tokens"] or 0 for call in calls),
        cost_microdollars=cost if cost or not unknown else None,
        of_unknown_cost=unknown,
    )


def groups(rows: Rows, hours: float, by: str, user: str | None = None) -> dict[str, Used]:
    since = NOW - timedelta(hours=hours)
    place_of = {
        row["prompt_id"]: f"{row['platform']}/{row['space']}/{row['channel']}"
        for row in rows["questions"]
    }
    replies = {row["prompt_id"]: row for row in rows["answers"]}
    found = defaultdict(list)
    for call in rows["answers"] + rows["background_usage"]:
        reply = replies[call["prompt_id"]]
        if reply["answered_at"] < since or user not in (None, call["user_id"]):
            continue
        key = {
            "day": f"{reply['answered_at']:%Y-%m-%d}",
            "model": call["model"] or UNANSWERED,
            "place": place_of.get(call["prompt_id"], "(question not recorded)"),
            "user": call["user_id"],
        }[by]
        found[key].append(call)
    return {key: expected_used(key, calls) for key, calls in found.items()}


def rank(values: list[float], percent: int) -> float:
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


@pytest.mark.parametrize("hours", [24, 7 * 24, 30 * 24])
def test_every_number_is_that_of_the_rows(engine: sa.Engine, hours: int) -> None:
    rows = rows_of(hours)
    insert(engine, rows)
    found = computed(engine, hours)
    since = NOW - timedelta(hours=hours)
    asked = [row for row in rows["questions"] if row["stored_at"] >= since]
    replies = [row for row in rows["answers"] if row["answered_at"] >= since]
    assert len(replies) > 50

    messages = Counter((bucket(row["stored_at"], hours), row["platform"]) for row in asked)
    assert {(one.at, one.platform): one.messages for one in found.messages} == messages
    people = {(row["platform"], row["user_id"]) for row in asked}
    assert {one.platform: one.people for one in found.people} == Counter(p for p, _ in people)
    assert found.outcomes == Counter(row["outcome"] for row in replies)

    for by, shown in (("day", found.by_day), ("model", found.by_model)):
        assert {one.key: one for one in shown} == groups(rows, hours, by), by
    total = [
        call for call in rows["answers"] + rows["background_usage"]
        if call["prompt_id"] in {row["prompt_id"] for row in replies}
    ]  # fmt: skip
    assert found.total == expected_used("total", total)

    rated = [row for row in rows["ratings"] if row["rated_at"] >= since]
    thumbs = Counter((bucket(row["rated_at"], hours), row["thumb"]) for row in rated)
    assert {(one.key, t): getattr(one, t) for one in found.rated for t in ("up", "down")
            if getattr(one, t)} == thumbs  # fmt: skip
    model_of = {row["prompt_id"]: row["model"] for row in rows["answers"]}
    by_model = Counter((model_of[row["prompt_id"]], row["thumb"]) for row in rated)
    assert {(one.key, t): getattr(one, t) for one in found.rated_by_model for t in ("up", "down")
            if getattr(one, t)} == by_model  # fmt: skip

    has_answer = {row["prompt_id"] for row in rows["answers"]}
    waiting = [
        row["stored_at"] for row in rows["questions"]
        if row["prompt_id"] not in has_answer and row["deleted_at"] is None
        and row["kind"] != "edited" and row["stored_at"] >= NOW - timedelta(days=1)
    ]  # fmt: skip
    assert found.open_questions == len(waiting) > 0
    assert found.oldest_open_s == pytest.approx((NOW - min(waiting)).total_seconds())


@pytest.mark.parametrize("hours", [24, 30 * 24])
def test_times_of_stages_are_those_of_the_rows(engine: sa.Engine, hours: int) -> None:
    rows = rows_of(5)
    insert(engine, rows)
    found = {stage.name: stage for stage in computed(engine, hours).stages}
    asked = {row["prompt_id"]: row for row in rows["questions"]}
    times: dict[str, list[float]] = defaultdict(list)
    for row in rows["answers"]:
        if row["answered_at"] < NOW - timedelta(hours=hours) or row["outcome"] != "answered":
            continue
        both = asked.get(row["prompt_id"], {"said_at": None, "stored_at": None}) | {
            name: row[name] for name in ("called_at", "first_token_at", "answered_at", "shown_at")
        }
        for name, begun, done in (
            ("stored", "said_at", "stored_at"),
            ("queued", "stored_at", "called_at"),
            ("first token", "called_at", "first_token_at"),
            ("complete", "called_at", "answered_at"),
            ("shown", "answered_at", "shown_at"),
        ):
            if both[begun] and both[done]:
                ms = (both[done] - both[begun]).total_seconds() * 1000
                times[name].append(max(0.0, ms))
    assert found.keys() == times.keys()
    for name, values in times.items():
        assert found[name].answers == len(values)
        assert found[name].p50_ms == pytest.approx(rank(values, 50), abs=1.1)
        assert found[name].p95_ms == pytest.approx(rank(values, 95), abs=1.1)
        assert found[name].p99_ms == pytest.approx(rank(values, 99), abs=1.1)


def test_a_time_that_clocks_make_negative_counts_as_zero() -> None:
    (stored, shown) = stages([(-5.0, None, None, None, 3.0), (-1.0, None, None, None, 7.0)])
    assert (stored.name, stored.answers, stored.p50_ms, stored.p99_ms) == ("stored", 2, 0, 0)
    assert (shown.name, shown.answers, shown.p50_ms, shown.p99_ms) == ("shown", 2, 3, 7)


def test_the_places_that_are_not_listed_are_added_up(engine: sa.Engine) -> None:
    rows = rows_of(9)
    insert(engine, rows)
    listed = computed(engine, 30 * 24).by_place
    every = groups(rows, 30 * 24, "place")
    assert len(listed) == GROUPS_LIMIT < len(every)
    assert all(every[one.key] == one for one in listed[:-1])
    assert listed[-1].key == OTHERS
    for name in ("questions", "input_tokens", "output_tokens", "of_unknown_cost"):
        assert sum(getattr(one, name) for one in listed) == sum(
            getattr(one, name) for one in every.values()
        )
    assert sum(one.cost_microdollars or 0 for one in listed) == sum(
        one.cost_microdollars or 0 for one in every.values()
    )


def test_notices_are_counted_without_words_of_people(engine: sa.Engine) -> None:
    rows = rows_of(4)
    insert(engine, rows)
    found = computed(engine, 30 * 24)
    recent = [
        row for row in rows["answers"]
        if row["answered_at"] >= NOW - timedelta(days=30) and row["text"] is not None
    ]  # fmt: skip
    failed = [row for row in recent if row["outcome"] == "failed"]
    away = sum(row["text"] == "My model is away." for row in failed)
    refused = sum(row["outcome"] == "refused" for row in recent)
    assert {(one.text, one.outcome): one.count for one in found.notices} == {
        ("My model is away.", "failed"): away,
        (BROKE_OFF, "failed"): len(failed) - away,
        ("Your budget is used: … of … tokens. It renews at ….", "refused"): refused,
    }
    assert min(away, len(failed) - away, refused) > 0
    assert WORDS not in found.wire().decode()


def test_own_usage_never_counts_what_others_did(engine: sa.Engine) -> None:
    rows = rows_of(6)
    insert(engine, rows)
    for user in {row["user_id"] for row in rows["answers"]} | {"web:nobody"}:
        with engine.connect() as connection:
            found = own_usage_of(connection, user, Range(hours=168), PRICES_NOW, NOW)
        assert {one.key: one for one in found.by_day} == groups(rows, 168, "day", user)
        assert {one.key: one for one in found.by_model} == groups(rows, 168, "model", user)
        mine = groups(rows, 168, "user", user)
        assert found.total == (
            mine[user].model_copy(update={"key": "total"}) if mine else expected_used("total", [])
        )


def test_budgets_are_those_of_the_present_day_and_month(engine: sa.Engine) -> None:
    rows = rows_of(8)
    insert(engine, rows)
    budgets = Budgets.model_validate({
        "each_user": {"tokens_per_day": 1_000_000},
        "users": {"slack:u1": {"dollars_per_month": 2}},
        "places": {"web": {"tokens_per_month": 500_000}, "slack:C3": {"tokens_per_month": 9_000}},
    })  # fmt: skip
    found = computed(engine, 24, budgets).budgets
    assert found is not None
    assert not found.people_unknown
    shown = {(one.whose, one.limit): one for one in found.limits}
    this_month = 24 * 25 + 12 + 35 / 60
    this_day = 12 + 34 / 60 + 56.789 / 3600
    people = groups(rows, this_day, "user")
    for user in people.keys() - {"slack:u1"}:
        one = shown.pop((user, "tokens_per_day"))
        assert one.used == people[user].input_tokens + people[user].output_tokens
    mine = groups(rows, this_month - 0.001, "user")["slack:u1"]
    dollars = shown.pop(("slack:u1", "dollars_per_month"))
    assert dollars.used == pytest.approx((mine.cost_microdollars or 0) / 1e6)
    places = groups(rows, this_month - 0.001, "place")
    for whose, of in (("web", "web/"), ("slack:C3", "slack/T1/x/C3")):
        one = shown.pop((whose, "tokens_per_month"))
        spent = [place for key, place in places.items() if key.startswith(of)]
        assert one.used == sum(place.input_tokens + place.output_tokens for place in spent)
        if whose == "slack:C3":
            assert len(spent) == 1
    assert not shown
    with_roles = budgets.model_copy(update={"roles": {"slack:guest": budgets.each_user}})
    left = computed(engine, 24, with_roles).budgets
    assert left is not None
    assert left.people_unknown
    assert {one.whose for one in left.limits} == {"slack:u1", "web", "slack:C3"}


def test_nothing_recorded_is_no_error(engine: sa.Engine) -> None:
    found = computed(engine, 24, Budgets.model_validate({"each_user": {"tokens_per_day": 5}}))
    assert found.total == expected_used("total", [])
    assert (found.messages, found.stages, found.outcomes) == ((), (), {})
    assert (found.open_questions, found.oldest_open_s) == (0, None)


async def until_answered(bus: Bus, done: Any) -> Figures:
    async with asyncio.timeout(30):
        while True:
            try:
                if done(found := await operators_figures(bus, Range(hours=24))):
                    return found
            except NotNow:
                pass
            await asyncio.sleep(0.2)


async def test_a_running_recorder_answers_with_what_nats_has(
    nats: NatsServer, bus: Bus, tmp_path: Path, database_url: str
) -> None:
    """Sizes of streams, waiting answers and dead letters, without the content of one."""
    await set_up(bus.js)
    await bus.dead_letter(subject="p.1.slack.ada", data=WORDS.encode(), reason="not JSON")
    await bus.client.publish("replies.slack.ada.x", b"{}")
    env = {"NATS_URL": nats.url, "THREADWAX_HOME": str(tmp_path), "DATABASE_URL": database_url}
    recorder = Running("recorder", log=tmp_path / "recorder.log", env=env).start()
    try:
        await recorder.ready()
        found = await until_answered(
            bus, lambda found: {one.not_recorded for one in found.server.streams} == {0, None}
        )
        usage = await own_usage(bus, "slack:ada", Range(hours=24))
    finally:
        recorder.kill()
    server = found.server
    assert server.streams is not None
    assert server.adapters is not None
    assert server.dead_letters is not None
    assert usage.total.questions == 0
    sizes = {one.name: one for one in server.streams}
    info = await bus.js.stream_info(names.DLQ)
    assert (sizes[names.DLQ].messages, sizes[names.DLQ].size_bytes) == (1, info.state.bytes)
    queues = {one.platform: one for one in server.adapters}
    assert (queues["slack"].waiting, queues["slack"].is_asking) == (1, False)
    assert queues["discord"].waiting == 0
    (letter,) = server.dead_letters
    assert (letter.subject, letter.reason) == ("dlq.p.1.slack.ada", "not JSON")
    assert letter.size_bytes == len(WORDS)
    assert WORDS not in found.wire().decode()


async def test_what_the_recorder_is_not_allowed_to_ask_is_left_out(tmp_path: Path) -> None:
    """Everything else is answered."""
    with restricted_nats(tmp_path / "nats", "$JS.API.STREAM.INFO.DLQ") as server:
        operator = await Bus.connect(server.operator_url, name="operator")
        await set_up(operator.js)
        env = {"NATS_URL": server.url, "THREADWAX_HOME": str(tmp_path / "home")}
        recorder = Running("recorder", log=tmp_path / "log", env=env).start()
        try:
            await recorder.ready()
            found = await until_answered(operator, lambda found: found.server.adapters is not None)
        finally:
            recorder.kill()
            await operator.close()
    assert (found.server.streams, found.server.dead_letters) == (None, None)
    assert found.server.adapters is not None
    assert found.total.questions == 0
