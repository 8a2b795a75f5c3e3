"""How many questions of guests are under way."""

from bots.gateway.open_questions import FORGOTTEN_AFTER_S, OpenQuestions


def test_an_answer_makes_room() -> None:
    open_questions = OpenQuestions(2)
    assert open_questions.add("a", 0.0)
    assert open_questions.add("b", 0.0)
    assert not open_questions.add("c", 0.0)
    open_questions.remove("a")
    open_questions.remove("never counted")
    assert open_questions.add("c", 0.0)
    assert "a" not in open_questions
    assert "c" in open_questions


def test_an_answer_that_another_gateway_delivered_is_not_waited_for_forever() -> None:
    open_questions = OpenQuestions(1)
    assert open_questions.add("a", 0.0)
    assert not open_questions.add("b", FORGOTTEN_AFTER_S)
    assert open_questions.add("b", FORGOTTEN_AFTER_S + 1)


def test_without_a_limit_nothing_is_remembered() -> None:
    open_questions = OpenQuestions(None)
    assert all(open_questions.add(str(number), 0.0) for number in range(1000))
    assert "0" not in open_questions
