"""The budget of a place: a change that is said twice counts once."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from dataflow.budget import HELD_FOR, Amount, Limit
from dataflow.place_ledger import PLACE_LEDGER, PlaceLedger

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
LIMITS = (Limit("day", "tokens", 1000),)


def test_what_a_question_has_used_counts_once() -> None:
    ledger = PlaceLedger()
    assert ledger.reserve("q1", Amount(600), LIMITS, NOON) is None
    for _ in range(2):
        ledger.settle("q1", Amount(400), LIMITS, NOON)
    assert (ledger.day.tokens, ledger.month.tokens, ledger.held) == (400, 400, {})


def test_a_warning_is_given_once() -> None:
    ledger = PlaceLedger()
    found = [len(ledger.settle("q1", Amount(900), LIMITS, NOON)) for _ in range(2)]
    assert found == [1, 0]


def test_a_settled_question_holds_nothing_again_and_is_not_refused() -> None:
    """After a crash it is asked for room once more, and its reply is found in the journal."""
    ledger = PlaceLedger()
    ledger.settle("q1", Amount(1000), LIMITS, NOON)
    assert ledger.reserve("q1", Amount(600), LIMITS, NOON) is None
    assert ledger.held == {}
    assert ledger.reserve("q2", Amount(1), LIMITS, NOON) is not None


def test_questions_are_remembered_for_as_long_as_their_room_is_held() -> None:
    ledger = PlaceLedger()
    ledger.settle("old", Amount(1), LIMITS, NOON)
    ledger.settle("q1", Amount(1), LIMITS, NOON + HELD_FOR)
    assert set(ledger.settled) == {"old", "q1"}
    ledger.settle("q2", Amount(1), LIMITS, NOON + HELD_FOR + timedelta(seconds=1))
    assert set(ledger.settled) == {"q1", "q2"}


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "settle"]), st.sampled_from("abcde"), st.integers(1, 400)
    ),
    max_size=12,
)


@given(CHANGES, st.data())
def test_repetitions_change_nothing(
    changes: list[tuple[str, str, int]], data: st.DataObject
) -> None:
    """Every change may be said again at once, and a question settled long ago once more."""
    once, often = PlaceLedger(), PlaceLedger()
    for kind, question, amount in changes:
        for ledger, times in ((once, 1), (often, data.draw(st.integers(1, 3)))):
            for _ in range(times):
                change = ledger.reserve if kind == "reserve" else ledger.settle
                change(question, Amount(amount), LIMITS, NOON)
        for settled in list(often.settled):
            often.settle(settled, Amount(7), LIMITS, NOON)
    assert often == once


@given(CHANGES)
def test_a_stored_ledger_is_the_same_when_it_is_read(changes: list[tuple[str, str, int]]) -> None:
    ledger = PlaceLedger()
    for kind, question, amount in changes:
        change = ledger.reserve if kind == "reserve" else ledger.settle
        change(question, Amount(amount), LIMITS, NOON)
    stored = PLACE_LEDGER.dump_json(ledger, exclude_defaults=True)
    assert PLACE_LEDGER.validate_json(stored) == ledger
