"""The counters of a budget: a state machine that tries to break them, and what it rests on."""

from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from pydantic import TypeAdapter

from dataflow.budget import HELD_FOR, NOTHING, Amount, Ledger, Limit, renewal
from tests.month import wait_s

START = datetime(2026, 1, 30, 22, tzinfo=UTC)
DAY = Limit("day", "tokens", 1000)
MONTH = Limit("month", "tokens", 2500)
DOLLARS = Limit("day", "dollars", 5000)
LIMITS = (DAY, MONTH, DOLLARS)
LEDGER = TypeAdapter(Ledger)


def stored(ledger: Ledger) -> Ledger:
    """The ledger after a restart."""
    return LEDGER.validate_json(LEDGER.dump_json(ledger, exclude_defaults=True))


class BudgetMachine(RuleBasedStateMachine):
    """Calls that are reserved and settled, with restarts that replay what came after a snapshot.

    The model of it keeps every settled call with its time, and sums them up.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.ledger = Ledger()
        self.reserved: dict[str, Amount] = {}
        self.settled: list[tuple[datetime, Amount]] = []
        self.number = 0
        self.errors = [NOTHING]
        """By how much each settled call was above its reservation."""
        self.saved = self.ledger
        self.after_save: list[tuple[str, str, Amount, datetime]] = []
        self.save()

    def save(self) -> None:
        self.saved = stored(self.ledger)
        self.after_save.clear()

    def used(self, limit: Limit) -> int:
        start = self.now.replace(hour=0, minute=0)
        start = start.replace(day=1) if limit.period == "month" else start
        return sum(amount.of(limit.unit) for at, amount in self.settled if at >= start)

    @rule(tokens=st.integers(1, 400), microdollars=st.integers(0, 2000))
    def ask(self, tokens: int, microdollars: int) -> None:
        self.number += 1
        key, amount = f"q{self.number}", Amount(tokens, microdollars)
        shortage = self.ledger.reserve(key, amount, LIMITS, self.now)
        fits = all(
            self.used(limit) + sum(a.of(limit.unit) for a in self.reserved.values())
            + amount.of(limit.unit) <= limit.most
            for limit in LIMITS
        )  # fmt: skip
        assert (shortage is None) == fits
        if shortage is None:
            self.reserved[key] = amount
            self.after_save.append(("reserve", key, amount, self.now))
        else:
            limit = shortage.limit
            assert shortage.used + shortage.held + shortage.needs > limit.most
            assert shortage.renews_at > self.now
            assert key not in self.ledger.held

    @precondition(lambda self: self.reserved)
    @rule(data=st.data(), part=st.floats(0, 1.2))
    def answer(self, data: st.DataObject, part: float) -> None:
        """A call ends and has used a part of what was reserved, or a little more."""
        key = data.draw(st.sampled_from(sorted(self.reserved)))
        most = self.reserved.pop(key)
        used = Amount(int(most.tokens * part), int(most.microdollars * part))
        self.ledger.settle(key, used, LIMITS, self.now)
        self.settled.append((self.now, used))
        self.errors.append(
            Amount(max(0, used.tokens - most.tokens), max(0, used.microdollars - most.microdollars))
        )
        self.after_save.append(("settle", key, used, self.now))

    @rule()
    def snapshot(self) -> None:
        self.save()

    @rule()
    def crash(self) -> None:
        """The ledger returns to its snapshot, and what came after it comes again."""
        self.ledger = stored(self.saved)
        for what, key, amount, at in self.after_save:
            if what == "settle":
                self.ledger.settle(key, amount, LIMITS, at)
            else:
                assert self.ledger.reserve(key, amount, (), self.now) is None

    @precondition(lambda self: self.reserved)
    @rule(data=st.data())
    def ask_again_after_restart(self, data: st.DataObject) -> None:
        """A call in progress is made again: it has its room already."""
        key = data.draw(st.sampled_from(sorted(self.reserved)))
        assert self.ledger.reserve(key, self.reserved[key], LIMITS, self.now) is None

    @rule(minutes=st.sampled_from([1, 20, 125, 60 * 24]))
    def time_goes_by(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)
        for key in list(self.reserved):  # calls end within an hour
            if self.now - self.ledger.held[key].since > HELD_FOR:
                self.ledger.settle(key, NOTHING, LIMITS, self.now)
                self.after_save.append(("settle", key, NOTHING, self.now))
                del self.reserved[key]

    @invariant()
    def never_above_the_limit_by_more_than_the_errors(self) -> None:
        for limit in LIMITS:
            over = sum(error.of(limit.unit) for error in self.errors)
            assert self.used(limit) <= limit.most + over

    @invariant()
    def nothing_is_counted_twice_or_lost(self) -> None:
        ledger = stored(self.ledger)
        ledger.settle("", NOTHING, (), self.now)
        for limit in LIMITS:
            counter = ledger.day if limit.period == "day" else ledger.month
            assert counter.of(limit.unit) == self.used(limit)
        assert set(ledger.held) == set(self.reserved)


TestBudgetMachine = BudgetMachine.TestCase
TestBudgetMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_a_day_and_a_month_renew_at_midnight_utc() -> None:
    ledger = Ledger()
    before = datetime(2026, 1, 31, 23, 59, tzinfo=UTC)
    assert ledger.reserve("a", Amount(1000), (DAY, MONTH), before) is None
    ledger.settle("a", Amount(1000), (DAY, MONTH), before)
    shortage = ledger.reserve("b", Amount(1), (DAY, MONTH), before)
    assert shortage is not None
    assert shortage.renews_at == datetime(2026, 2, 1, tzinfo=UTC)
    midnight = before + timedelta(minutes=1)
    assert ledger.reserve("b", Amount(1), (DAY, MONTH), midnight) is None
    assert renewal("month", midnight.date()) == datetime(2026, 3, 1, tzinfo=UTC)


def test_a_call_over_midnight_counts_on_the_day_of_its_answer() -> None:
    ledger = Ledger()
    before = datetime(2026, 1, 30, 23, 59, tzinfo=UTC)
    after = before + timedelta(minutes=2)
    ledger.reserve("a", Amount(600), (DAY,), before)
    assert ledger.reserve("b", Amount(600), (DAY,), after) is not None  # still held
    ledger.settle("a", Amount(600), (DAY,), after)
    assert (ledger.day.tokens, ledger.month.tokens) == (600, 600)


def test_an_answer_of_yesterday_counts_for_the_month_only() -> None:
    """After a crash, answers of the day before may be heard of late."""
    ledger = Ledger()
    today = datetime(2026, 1, 31, 0, 1, tzinfo=UTC)
    ledger.reserve("a", Amount(1), (DAY,), today)
    ledger.settle("old", Amount(500), (DAY,), today - timedelta(minutes=2))
    assert (ledger.day.tokens, ledger.month.tokens) == (0, 500)


def test_a_warning_comes_once_per_period_and_limit() -> None:
    ledger, at = Ledger(), START
    assert ledger.settle("a", Amount(799), (DAY, MONTH), at) == []
    (nearly,) = ledger.settle("b", Amount(1), (DAY, MONTH), at)
    assert (nearly.limit, nearly.used) == (DAY, 800)
    ledger = stored(ledger)
    assert ledger.settle("c", Amount(100), (DAY, MONTH), at) == []
    at += timedelta(days=1)
    assert [n.limit for n in ledger.settle("d", Amount(900), (DAY, MONTH), at)] == [DAY]
    at += timedelta(days=1)  # February
    assert ledger.settle("e", Amount(1), (DAY, MONTH), at) == []


def test_what_an_hour_did_not_settle_holds_no_room() -> None:
    ledger = Ledger()
    assert ledger.reserve("a", Amount(1000), (DAY,), START) is None
    assert ledger.reserve("b", Amount(1), (DAY,), START + HELD_FOR) is not None
    assert ledger.reserve("b", Amount(1), (DAY,), START + HELD_FOR + timedelta(seconds=1)) is None


def test_a_clock_that_was_ahead_and_is_set_right_suspends_no_limit() -> None:
    """What was used in the wrong year stays used, and what is used from now on is counted."""
    ledger, limits = Ledger(), (DAY, MONTH)
    ahead = START.replace(year=2099)
    assert ledger.reserve("a", Amount(400), limits, ahead) is None
    ledger.settle("a", Amount(400), limits, ahead)
    assert ledger.reserve("lost", Amount(600), limits, ahead) is None

    assert ledger.reserve("b", Amount(600), limits, START) is None
    ledger.settle("b", Amount(600), limits, START)
    assert (ledger.day.tokens, ledger.month.tokens) == (1000, 1000)
    shortage = ledger.reserve("c", Amount(1), limits, START)
    assert shortage is not None
    assert shortage.renews_at == datetime(2026, 1, 31, tzinfo=UTC)
    assert ledger.reserve("c", Amount(1), limits, START + timedelta(days=1)) is None


def test_tests_of_monthly_budgets_wait_for_the_next_month_only_at_its_end() -> None:
    end = datetime(2026, 12, 1, tzinfo=UTC)
    assert wait_s(end - timedelta(minutes=3)) == wait_s(end) == 0
    assert wait_s(end - timedelta(seconds=100)) == 100
