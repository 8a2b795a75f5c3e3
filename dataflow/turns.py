"""What is remembered of one user: questions with their answers, in the order of asking.

Pure. It must never grow without limit, whatever is said.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from dataflow.window import message_tokens
from shared.messages import Ask, Attachment, Place

TURNS_LIMIT: Final = 200
TOKENS_LIMIT: Final = 50_000
"""What is remembered of one user: about 200 kB, beyond which a summary serves better."""


KEPT_FILE_CHARS: Final = 2_000
"""Of a text file, for asking its question again."""

NOT_KEPT: Final = "(This file is too long to be kept. Ask for it to be attached again.)"


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer, as the person saw them. `order` sorts a user's turns.

    An empty `answer` is a failure: the question can be asked again, and the model is never shown
    it. `tokens` is the estimate for both, made once: a request weighs every turn it might hold.
    `first` is the id of the question as it was asked first, if this answer is a newer one.
    `files`, `persona` and `model` are those of the question, for asking it again.
    """

    prompt_id: str
    place: Place
    question: str
    answer: str
    order: int
    tokens: int
    first: str | None = None
    files: tuple[Attachment, ...] = ()
    persona: str | None = None
    model: str | None = None

    @property
    def asked(self) -> str:
        """The question as a later request shows it: its files by name."""
        return asked_with(self.question, self.files)

    def is_about(self, prompt_id: str) -> bool:
        """Whether this is the answer to that question, by whichever of its ids."""
        return prompt_id in {self.prompt_id, self.first}


def turn_of(
    ask: Ask, place: Place, question: str, answer: str, order: int, *, first: str | None = None
) -> Turn:
    """A turn, weighed. `question` is the text that was answered."""
    files = tuple(map(_kept, ask.attachments))
    tokens = message_tokens(asked_with(question, files)) + message_tokens(answer)
    return Turn(
        ask.id, place, question, answer, order, tokens, first, files, ask.persona, ask.model
    )


def asked_with(question: str, files: tuple[Attachment, ...]) -> str:
    """A question's text, and its files by name."""
    if not files:
        return question
    named = [f"[{'picture' if file.blob else 'file'}: {file.name}]" for file in files]
    return "\n".join([question, *named] if question.strip() else named)


def _kept(file: Attachment) -> Attachment:
    """A file as a turn keeps it: a text that is too long leaves its name and a note."""
    if file.text is None or len(file.text) <= KEPT_FILE_CHARS:
        return file
    return file.model_copy(update={"text": NOT_KEPT})


class Turns:
    """A user's turns, the oldest ones gone where there are too many. Iterates in their order."""

    def __init__(self, turns: Iterable[Turn] = ()) -> None:
        self._turns: list[Turn] = []
        for turn in turns:
            self._turns.append(replace(turn, place=self.shared(turn.place)))

    def __iter__(self) -> Iterator[Turn]:
        return iter(self._turns)

    def add(self, turn: Turn) -> None:
        """Remembers a turn, in place of an older answer to the same question."""
        first = turn.first
        if first is not None:
            self.drop(lambda old: old.is_about(first))
        at = len(self._turns)
        while at and self._turns[at - 1].order > turn.order:
            at -= 1
        self._turns.insert(at, turn)
        tokens = sum(turn.tokens for turn in self._turns)
        while len(self._turns) > TURNS_LIMIT or (tokens > TOKENS_LIMIT and len(self._turns) > 1):
            tokens -= self._turns.pop(0).tokens

    def shared(self, place: Place) -> Place:
        """The last turn's own place where it is the same one: for the next turn.

        A place takes more room than a short question with its answer.
        """
        last = self._turns[-1].place if self._turns else place
        return last if last == place else place

    def before(self, order: int) -> list[Turn]:
        """The turns up to a question's place among them."""
        at = len(self._turns)
        while at and self._turns[at - 1].order >= order:
            at -= 1
        return self._turns[:at]

    def drop(self, chosen: Callable[[Turn], bool]) -> None:
        """Forgets turns."""
        self._turns = [turn for turn in self._turns if not chosen(turn)]
