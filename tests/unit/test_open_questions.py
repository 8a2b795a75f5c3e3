"""The limit on unanswered questions of guests."""

from bots.gateway.open_questions import FORGOTTEN_AFTER_S, OpenQuestions


def test_an_answered_question_no_longer_counts() -> None:
    open_questions = OpenQuestions(2)
    assert open_questions.add("a", 0.0)
    assert open_questions.add("b", 0.0)
    assert not open_questions.add("c", 0.0)
    open_questions.remove("a")
    open_questions.remove("never counted")
    assert open_questions.add("c", 0.0)
    assert "a" not in open_questions
    assert "c" in open_questions


def test_a_question_answered_by_another_gateway_is_forgotten_after_a_while() -> None:
    open_questions = OpenQuestions(1)
    assert open_questions.add("a", 0.0)
    assert not open_questions.add("b", FORGOTTEN_AFTER_S)
    assert open_questions.add("b", FORGOTTEN_AFTER_S + 1)


def test_without_a_limit_no_question_is_counted() -> None:
    open_questions = OpenQuestions(None)
    assert all(open_questions.add(str(number), 0.0) for number in range(1000))
    assert "0" not in open_questions
