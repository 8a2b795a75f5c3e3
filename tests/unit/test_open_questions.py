"""How many questions of guests are under way."""

from bots.gateway.open_questions import FORGOTTEN_AFTER_S, Unanswered


def test_an_answer_makes_room() -> None:
    unanswered = Unanswered(2)
    assert unanswered.add("a", 0.0)
    assert unanswered.add("b", 0.0)
    assert not unanswered.add("c", 0.0)
    unanswered.remove("a")
    unanswered.remove("never counted")
    assert unanswered.add("c", 0.0)
    assert "a" not in unanswered
    assert "c" in unanswered


def test_an_answer_that_another_gateway_delivered_is_not_waited_for_forever() -> None:
    unanswered = Unanswered(1)
    assert unanswered.add("a", 0.0)
    assert not unanswered.add("b", FORGOTTEN_AFTER_S)
    assert unanswered.add("b", FORGOTTEN_AFTER_S + 1)


def test_without_a_limit_nothing_is_remembered() -> None:
    unanswered = Unanswered(None)
    assert all(unanswered.add(str(number), 0.0) for number in range(1000))
    assert "0" not in unanswered
