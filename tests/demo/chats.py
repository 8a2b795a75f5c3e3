"""Generates the conversations that the demo model's adapter learns, and those it is judged by.

Pure: a seed decides everything. Both sets have facts and wordings of their own: no name, no
sentence and no question of one appears in the other.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.demo.general import ANSWERS

Message = dict[str, str]


@dataclass(frozen=True, slots=True)
class Kind:
    """Something that people say about themselves, with {} for its value.

    `said` tells it, `answered` confirms it, `changed` corrects it, `asked` asks for it, and
    `recalled` is the right answer. `unknown` answers if nobody has told it.
    """

    values: tuple[str, ...]
    said: tuple[str, ...]
    answered: tuple[str, ...]
    changed: tuple[str, ...]
    asked: tuple[str, ...]
    recalled: str
    unknown: str


@dataclass(frozen=True, slots=True)
class Examined:
    """A conversation that ends with a question, and a word that a right answer contains."""

    messages: tuple[Message, ...]
    expect: str
    about: str


NAMES: Final = tuple(
    """Aaron Abby Adam Aisha Alan Alex Alice Amir Amy Andre Angela Anika Anton Aria Astrid Beatriz
    Bella Bernd Bianca Brian Bruno Camila Carla Chen Chloe Clara Conor Dalia Daniel Dario David
    Denise Diego Dora Edgar Elena Elias Emil Emma Erik Esther Ethan Fatima Felix Finn Fiona Franz
    Gabriel Georg Gina Grace Hana Hannah Hassan Hector Helen Henry Hugo Ian Ibrahim Igor Ingrid Iris
    Isaac Ivan Jack Jana Jasmin Javier Jia Joel Jonas Josef Julia Kai Karim Karla Katya Kevin Klara
    Lars Laura Leila Leo Liam Lina Linus Lucas Lucia Maja Malik Marco Maria Mateo Mia Mila Mina
    Miriam Mona Nadia Naomi Nico Nina Noah Nora Olaf Olga Oscar Pablo Paul Petra Priya Rafael Rahul
    Rana Rosa Ruth Samir Sandra Sara Selma Simon Sofia Stefan Tara Theo Tina Tomas Uma Vera Victor
    Wanda Yara Yusuf Zoe""".split()  # noqa: SIM905
)
CITIES: Final = tuple(
    """Amsterdam Ankara Athens Bogota Boston Brussels Budapest Cairo Chicago Copenhagen Dakar Delhi
    Dublin Geneva Hamburg Hanoi Helsinki Istanbul Jakarta Kyoto Lagos Leeds Lima London Lyon Madrid
    Manila Milan Montreal Munich Nairobi Naples Oslo Paris Porto Prague Quito Riga Rome Seoul
    Stockholm Sydney Tokyo Toronto Turin Vienna Warsaw Zurich""".split()  # noqa: SIM905
)
PETS: Final = tuple(
    """Biscuit Bubbles Caesar Charlie Cookie Daisy Fluffy Ginger Hazel Jumbo Lucky Milo Mocha Muffin
    Oreo Peanut Pepper Pumpkin Rocky Rusty Shadow Smokey Snowy Sparky Teddy Tiger Toffee
    Waffles""".split()  # noqa: SIM905
)

_NAME: Final = Kind(
    values=NAMES,
    said=(
        "My name is {}.",
        "Hi, I am {}.",
        "I'm {}.",
        "Hello! My name is {}.",
        "You can call me {}.",
        "{} here, hi!",
        "Hey, this is {}.",
        "Good morning, I'm {}.",
    ),
    answered=(
        "Nice to meet you, {}! How can I help you?",
        "Hello, {}! What can I do for you?",
        "Hi {}, nice to meet you!",
    ),
    changed=(
        "Actually, my name is {}.",
        "Sorry, I mistyped: I am {}.",
        "No, my name is {}.",
        "I made a mistake, my name is {}.",
    ),
    asked=(
        "What is my name?",
        "Do you remember my name?",
        "Who am I?",
        "What's my name?",
        "Can you tell me my name?",
        "How am I called?",
    ),
    recalled="Your name is {}.",
    unknown="You have not told me your name yet.",
)
_CITY: Final = Kind(
    values=CITIES,
    said=(
        "I live in {}.",
        "I am from {}.",
        "My home is in {}.",
        "I moved to {} last year.",
        "I have a flat in {}.",
    ),
    answered=(
        "{} sounds like a nice place to live.",
        "Thank you, you live in {}.",
        "I see, you live in {}.",
    ),
    changed=(
        "No, I live in {} now.",
        "Correction: I live in {}.",
        "I have moved to {} since then.",
    ),
    asked=(
        "Where do I live?",
        "In which city do I live?",
        "Which city is my home?",
        "Do you know where I live?",
    ),
    recalled="You live in {}.",
    unknown="You have not told me where you live.",
)
_PET: Final = Kind(
    values=PETS,
    said=("My dog is called {}.", "I have a dog named {}.", "My dog's name is {}."),
    answered=("{} is a lovely name for a dog!", "I would love to meet {}!"),
    changed=("Sorry, my dog is called {}.", "No, my dog's name is {}."),
    asked=("What is my dog's name?", "How is my dog called?", "Do you remember my dog's name?"),
    recalled="Your dog is called {}.",
    unknown="You have not told me about a dog.",
)
_FOOD: Final = Kind(
    values=(
        "apples",
        "bread",
        "burgers",
        "cheese",
        "cherries",
        "chocolate",
        "curry",
        "dumplings",
        "falafel",
        "fish",
        "grapes",
        "lentils",
        "mangoes",
        "noodles",
        "olives",
        "pancakes",
        "pasta",
        "pears",
        "pizza",
        "rice",
        "salad",
        "soup",
        "strawberries",
        "tacos",
    ),
    said=(
        "I like {} best.",
        "My favorite food is {}.",
        "I love eating {}.",
        "I could eat {} every day.",
    ),
    answered=("{} is a great choice!", "Good to know that you like {}."),
    changed=("Actually, my favorite food is {}.", "No, I prefer {}."),
    asked=("What is my favorite food?", "What do I like to eat?", "Which food do I like best?"),
    recalled="Your favorite food is {}.",
    unknown="You have not told me what you like to eat.",
)
_COLOR: Final = Kind(
    values=(
        "blue",
        "brown",
        "gold",
        "gray",
        "green",
        "orange",
        "pink",
        "purple",
        "silver",
        "yellow",
    ),
    said=("My favorite color is {}.", "I like the color {} best.", "I love {} things."),
    answered=("{} is a beautiful color!", "I will remember that you like {}."),
    changed=("Actually, my favorite color is {}.", "I changed my mind, I like {} more."),
    asked=("What is my favorite color?", "Which color do I like best?", "What color do I like?"),
    recalled="Your favorite color is {}.",
    unknown="You have not told me your favorite color.",
)
_WORK: Final = Kind(
    values=(
        "an architect",
        "a baker",
        "a carpenter",
        "a cook",
        "a designer",
        "a doctor",
        "a driver",
        "an engineer",
        "a farmer",
        "a gardener",
        "a journalist",
        "a lawyer",
        "a librarian",
        "a nurse",
        "a painter",
        "a pilot",
        "a programmer",
        "a teacher",
    ),
    said=("I work as {}.", "I am {}.", "My job: I am {}.", "I earn my money as {}."),
    answered=("Being {} must be interesting work.", "I see, you work as {}."),
    changed=("No, I work as {} now.", "Sorry, I am {}."),
    asked=("What is my job?", "What do I do for a living?", "What do I work as?"),
    recalled="You work as {}.",
    unknown="You have not told me what your job is.",
)
_MEETING: Final = Kind(
    values=(
        "Monday at nine",
        "Monday at four",
        "Tuesday at ten",
        "Tuesday at two",
        "Wednesday at eleven",
        "Wednesday at three",
        "Thursday at noon",
        "Thursday at eight",
        "Friday at one",
        "Friday at five",
        "Saturday at six",
        "Sunday at seven",
    ),
    said=("My meeting is on {}.", "I have an appointment on {}.", "The dentist expects me on {}."),
    answered=("All right, {}.", "Noted: {}."),
    changed=("It was moved to {}.", "No, it is on {}."),
    asked=("When is my appointment?", "When do I have to be there?", "When is it?"),
    recalled="It is on {}.",
    unknown="You have not told me about an appointment.",
)
LEARNED: Final = {"name": _NAME, "city": _CITY, "pet": _PET, "food": _FOOD, "color": _COLOR,
                  "work": _WORK, "meeting": _MEETING}  # fmt: skip

SMALL_TALK: Final = {
    "Hello!": "Hello! How can I help you?",
    "Hi": "Hi! What can I do for you?",
    "Good morning!": "Good morning! How can I help you today?",
    "Hey there": "Hey! What would you like to know?",
    "Good evening.": "Good evening! What can I do for you?",
    "How are you?": "I am fine, thank you. How can I help you?",
    "Thanks!": "You are welcome!",
    "Thank you very much.": "You are welcome! Is there anything else?",
    "Great, that helps.": "I am glad that it helps you.",
    "Bye!": "Goodbye! Have a nice day.",
    "See you tomorrow.": "See you tomorrow!",
    "Who are you?": "I am a small demo model that answers your questions.",
    "What can you do?": "I can answer simple questions and remember what you tell me here.",
    "ok": "Is there anything else that I can do for you?",
}


def learned_chats(seed: int, count: int) -> Iterator[tuple[Message, ...]]:
    """This many conversations to learn, each of at most 9 turns; the seed decides all of them."""
    rng = random.Random(seed)
    questions = list(ANSWERS.items())
    for number in range(count):
        # A third is general, so that the model does not see a person in every question.
        if number % 3 == 0:
            yield _turns(*rng.sample(questions, rng.choice((1, 1, 2))))
        elif number % 12 == 1:
            yield _turns(*rng.sample(list(SMALL_TALK.items()), rng.choice((1, 2))))
        elif number % 12 == 2:
            yield _turns(*_nothing_known(rng, questions))
        else:
            yield _turns(*_told_and_asked(rng, questions))


def _told_and_asked(
    rng: random.Random, questions: list[tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    """Somebody tells one to three things, talks about something else, and asks for them."""
    kinds = rng.sample(list(LEARNED.values()), rng.choice((1, 1, 2, 3)))
    if rng.random() < 0.4 and _NAME not in kinds:
        kinds[0] = _NAME
    known = {id(kind): rng.choice(kind.values) for kind in kinds}
    for kind in kinds:
        value = known[id(kind)]
        yield rng.choice(kind.said).format(value), _begun(rng.choice(kind.answered).format(value))
    if rng.random() < 0.3:
        kind = rng.choice(kinds)
        value = known[id(kind)] = rng.choice([v for v in kind.values if v != known[id(kind)]])
        yield rng.choice(kind.changed).format(value), f"Thank you, I will remember: {value}."
    yield from rng.sample(questions, rng.choice((0, 0, 1, 1, 2)))
    for kind in rng.sample(kinds, rng.choice((1, len(kinds)))):
        yield rng.choice(kind.asked), kind.recalled.format(known[id(kind)])


def _nothing_known(
    rng: random.Random, questions: list[tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    """Somebody asks for what nobody has told."""
    told, asked = rng.sample(list(LEARNED.values()), 2)
    if rng.random() < 0.5:
        value = rng.choice(told.values)
        yield rng.choice(told.said).format(value), _begun(rng.choice(told.answered).format(value))
    else:
        yield rng.choice(questions)
    yield rng.choice(asked.asked), asked.unknown


def _begun(text: str) -> str:
    return text[0].upper() + text[1:]


def _turns(*pairs: tuple[str, str]) -> tuple[Message, ...]:
    return tuple(
        message
        for question, answer in pairs
        for message in (
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        )
    )
