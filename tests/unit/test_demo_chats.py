"""What the demo model's adapter learns, and what it is examined in."""

import hashlib
import json

from ops.demo import MANIFEST
from tests.demo.chats import LEARNED, SMALL_TALK, learned_chats
from tests.demo.exam import GENERAL, README, exams
from tests.demo.general import ANSWERS
from tests.demo.scores import is_right
from tests.demo.train import CHATS, SEED, lines_of

COUNT = 300


def said_in(chats: list[tuple[dict[str, str], ...]], role: str) -> set[str]:
    return {line["content"] for chat in chats for line in chat if line["role"] == role}


def test_the_seed_decides_the_conversations() -> None:
    """Those that were learned can be made again at any time."""
    assert list(learned_chats(7, COUNT)) == list(learned_chats(7, COUNT))
    assert list(learned_chats(7, COUNT)) != list(learned_chats(8, COUNT))
    learned = "".join(lines_of(learned_chats(SEED, CHATS)))
    shipped = json.loads(MANIFEST.read_text())["data"]["sha256"]
    assert hashlib.sha256(learned.encode()).hexdigest() == shipped


def test_people_and_the_model_speak_in_turn() -> None:
    for chat in learned_chats(7, COUNT):
        assert [line["role"] for line in chat] == ["user", "assistant"] * (len(chat) // 2)
        assert 1 <= len(chat) // 2 <= 9
        assert all(line["content"].strip() and "{" not in line["content"] for line in chat)


def test_what_is_recalled_was_said_last() -> None:
    """A correction counts from then on, and nothing is recalled that nobody said."""
    for chat in learned_chats(7, COUNT):
        said = [line["content"] for line in chat]
        for kind in LEARNED.values():
            for at, line in enumerate(said):
                if line in kind.asked and said[at + 1] != kind.unknown:
                    told = [
                        (before, value)
                        for before, earlier in enumerate(said[:at])
                        for value in kind.values
                        if earlier in {words.format(value) for words in (*kind.said, *kind.changed)}
                    ]
                    assert said[at + 1] == kind.recalled.format(max(told)[1])


def test_the_exam_is_in_other_words_and_about_other_things() -> None:
    """Only the README's conversation is worded as the learned ones; its names are others."""
    learned = said_in(list(learned_chats(SEED, 5 * CHATS)), "user")
    values = {value for kind in LEARNED.values() for value in kind.values}
    readme = set(README)
    for exam in exams(2):
        assert exam.subject == "general" or values.isdisjoint(exam.expect)
        if set(exam.questions[1:]) <= readme:
            continue
        assert learned.isdisjoint(exam.questions), exam
    assert not GENERAL.keys() & (ANSWERS.keys() | SMALL_TALK.keys())


def test_a_right_answer_contains_a_whole_word() -> None:
    exam = next(iter(exams(2)))
    (name,) = exam.expect
    assert is_right(exam, f"Your name is {name.lower()}!")
    assert not is_right(exam, f"Your name is {name}bert.")
