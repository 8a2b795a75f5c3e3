"""What the demo model is examined in: conversations and the words of right answers.

Pure. Names, facts, wordings and questions are others than those of `chats.py` and `general.py`;
only the conversation of the README is worded as there.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Final, Literal

Subject = Literal["recall", "correction", "greeting", "unknown", "general"]


@dataclass(frozen=True, slots=True)
class Exam:
    """Questions that are asked one after another. The last answer must contain one of `expect`."""

    subject: Subject
    questions: tuple[str, ...]
    expect: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Fact:
    """Something about a person: its values, and how it is told, corrected and asked for."""

    values: tuple[str, ...]
    told: tuple[str, ...]
    corrected: tuple[str, ...]
    asked: tuple[str, ...]


_NAME: Final = _Fact(
    values=tuple(
        """Ada Ben Cleo Dylan Eva Frida Gil Heidi Ines Jorge Kofi Lotte Matteo Nils Otto Pia
        Quentin Rita Sven Tariq Ulla Vito Wim Xenia""".split()  # noqa: SIM905
    ),
    told=("People call me {}.", "The name is {}.", "Please call me {}.", "{} is my name."),
    corrected=("Oh no, that was wrong, call me {}.", "Please use {} from now on, that is my name."),
    asked=("Tell me my name.", "Which name did I give you?", "Please say my name.",
           "Remind me what my name is."),
)  # fmt: skip
_FACTS: Final = (
    _Fact(
        values=("Berlin", "Lisbon", "Osaka", "Bern", "Havana", "Tunis", "Leipzig", "Bergen"),
        told=("{} is where I live.", "These days my house is in {}."),
        corrected=("Wait, these days it is {}.", "That was before, now my city is {}."),
        asked=("What city am I living in?", "Name the city where I live."),
    ),
    _Fact(
        values=("Rex", "Luna", "Balu", "Pixel"),
        told=("We have a puppy, he is called {}.", "Our dog listens to the name {}."),
        corrected=("Oops, our dog is {}.",),
        asked=("Tell me the name of my dog.", "And my dog is called?"),
    ),
    _Fact(
        values=("sushi", "lasagna", "paella", "ramen"),
        told=("The best dish in the world is {}, I think.", "Nothing tastes better to me than {}."),
        corrected=("On second thought, it is {}.",),
        asked=("Name my favorite dish.", "What food do I prefer?"),
    ),
    _Fact(
        values=("red", "black", "white", "turquoise"),
        told=("The color I like most is {}.", "For me everything should be {}."),
        corrected=("Make that {}.",),
        asked=("Tell me my favorite color.", "My favorite color is?"),
    ),
    _Fact(
        values=("a florist", "a dentist", "a surgeon", "a tailor"),
        told=("By profession I am {}.", "I have been working as {} for years."),
        corrected=("I meant to say that I am {}.",),
        asked=("Name my profession.", "What is my profession?"),
    ),
)

_IN_BETWEEN: Final = (
    "What is a volcano?", "How do bees make honey?", "What is the largest animal?",
    "Why is the sky blue?", "What is a haiku?", "Name a planet.", "What is 5 plus 4?",
)  # fmt: skip

README: Final = ("My name is {}.", "What is a message broker?", "What is my name?")

GENERAL: Final[dict[str, tuple[str, ...]]] = {
    "What is the capital of Italy?": ("rome",),
    "What is the capital of Japan?": ("tokyo",),
    "What is the capital of Spain?": ("madrid",),
    "What is the capital of Germany?": ("berlin",),
    "What is the capital of France?": ("paris",),
    "Which planet is closest to the sun?": ("mercury",),
    "What do cows drink as calves?": ("milk",),
    "What is the opposite of hot?": ("cold",),
    "What is the opposite of big?": ("small", "little", "tiny"),
    "How many days are in a week?": ("seven", "7"),
    "How many months are in a year?": ("twelve", "12"),
    "How many legs does a spider have?": ("eight", "8"),
    "What color is grass?": ("green",),
    "What color is a ripe banana?": ("yellow",),
    "What is 2 plus 2?": ("4", "four"),
    "What is 10 minus 3?": ("7", "seven"),
    "Who wrote Romeo and Juliet?": ("shakespeare",),
    "Who painted the Mona Lisa?": ("leonardo", "da vinci"),
    "What is the chemical symbol for water?": ("h2o", "h₂o"),
    "What gas do plants take in?": ("carbon dioxide", "co2"),
    "Which ocean lies between Europe and America?": ("atlantic",),
    "On which continent is Egypt?": ("africa",),
    "What is frozen water called?": ("ice",),
    "Which animal says meow?": ("cat",),
    "What do we call a baby dog?": ("puppy", "pup"),
    "What language is spoken in Brazil?": ("portuguese",),
    "What is the largest planet in the solar system?": ("jupiter",),
    "Which season comes after winter?": ("spring",),
    "What is the first letter of the alphabet?": ("a",),
    "What does a thermometer measure?": ("temperature",),
    "What organ pumps blood?": ("heart",),
    "What is the name of our galaxy?": ("milky way",),
    "Translate 'good day' into French.": ("bonjour",),
    "What do you use to cut paper?": ("scissors",),
    "What is the capital of England?": ("london",),
    "Which country is known for the Great Wall?": ("china",),
}
"""Questions, and words of which a right answer contains one. Only their number is compared."""


def exams(seed: int) -> Iterator[Exam]:
    """All conversations, in a fixed order."""
    rng = random.Random(seed)
    names = cycle(_NAME.values)
    for name in islice(names, 8):
        yield Exam("recall", tuple(line.format(name) for line in README), (name,))
    for name in islice(names, 16):
        yield _told(rng, "recall", _NAME, name)
    for fact in _FACTS:
        for value in fact.values[:4]:
            yield _told(rng, "recall", fact, value)
    for name in islice(names, 8):
        yield _told(rng, "correction", _NAME, name)
    for fact in _FACTS:
        for value in fact.values[:2]:
            yield _told(rng, "correction", fact, value)
    for name in islice(names, 8):
        yield Exam("greeting", (rng.choice(_NAME.told).format(name),), (name,))
    for asked in (*_NAME.asked, *(fact.asked[0] for fact in _FACTS)):
        yield Exam(
            "unknown", (rng.choice(_IN_BETWEEN), asked), ("not told", "don't know", "do not know")
        )
    for question, words in GENERAL.items():
        yield Exam("general", (question,), words)


def _told(rng: random.Random, subject: Subject, fact: _Fact, value: str) -> Exam:
    first = rng.choice([v for v in fact.values if v != value]) if subject == "correction" else value
    questions = [rng.choice(fact.told).format(first)]
    if subject == "correction":
        questions.append(rng.choice(fact.corrected).format(value))
    questions += rng.sample(_IN_BETWEEN, rng.choice((0, 1, 2)))
    return Exam(subject, (*questions, rng.choice(fact.asked)), (value.rpartition(" ")[2],))
