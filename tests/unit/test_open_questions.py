"""The limit on unanswered questions of guests."""

from bots.gateway.open_questions import FORGOTTEN_AFTER_S, Unanswered


def test_an_answered_question_no_longer_counts() -> None:
    unanswered = Unanswered(2)
    assert unanswered.add("a", 0.0)
    assert unanswered.add("b", 0.0)
    assert not unanswered.add("c", 0.0)
    unanswered.remove("a")
    unanswered.remove("never counted")
    assert unanswered.add("c", 0.0)
    assert "a" not in unanswered
    assert "c" in unanswered


def test_a_question_answered_by_another_gateway_is_forgotten_after_a_while() -> None:
    unanswered = Unanswered(1)
    assert unanswered.add("a", 0.0)
    assert not unanswered.add("b", FORGOTTEN_AFTER_S)
    assert unanswered.add("b", FORGOTTEN_AFTER_S + 1)


def test_without_a_limit_no_question_is_counted() -> None:
    unanswered = Unanswered(None)
    assert all(unanswered.add(str(number), 0.0) for number in range(1000))
    assert "0" not in unanswered
