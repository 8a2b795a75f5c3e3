"""One turn: a question with its answer, and what is kept to ask it again.

Pure.
"""

from dataclasses import dataclass, replace
from datetime import UTC
from typing import Final

from dataflow.data_tags import asked_with
from dataflow.tokens import message_tokens
from shared.messages import Ask, Attachment, Place, Quote

KEPT_FILE_CHARS: Final = 2_000
KEPT_QUOTES_CHARS: Final = 8_000
"""Limits for one question whose files and quotes are kept only for asking it again."""


# Compared by identity, because each snapshot compares the context of each turn with `NO_CONTEXT`.
@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """The context that a question was sent with, so that later requests can repeat it.

    `told` are the orders of the turns in its background, and `left_out` is the newest order for
    which the background had no room. `quotes` are other people's messages that were new with it.
    `in_full`: quotes and texts of files are small enough to stay in later requests.
    """

    told: tuple[int, ...] = ()
    left_out: int = 0
    quotes: tuple[Quote, ...] = ()
    in_full: bool = False


NO_CONTEXT: Final = Context()


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer, as the person saw them. `order` sorts a user's turns.

    An empty `answer` is a failure: the question can be asked again, but is not part of requests.
    `tokens` is the estimate for both, made only once. `first` is the id under which the question
    was first asked, if this is a newer answer. `files`, `persona`, `model` and `roles` are kept for
    asking again. `day` is the day (UTC) of the question as its proleptic ordinal; turns of older
    versions have none.
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
    context: Context = NO_CONTEXT
    roles: tuple[str, ...] = ()
    day: int | None = None

    @property
    def asked(self) -> str:
        """The question as later requests of its thread contain it, without its background."""
        context = self.context
        return asked_with(self.question, self.files, context.quotes, in_full=context.in_full)

    @property
    def question_elsewhere(self) -> str:
        """The question in the backgrounds of other threads: quotes never leave their thread."""
        return asked_with(self.question, self.files, in_full=False)

    @property
    def tokens_elsewhere(self) -> int:
        """The estimate for this turn in a background."""
        if not self.context.in_full:
            return self.tokens
        return message_tokens(self.question_elsewhere) + message_tokens(self.answer)

    @property
    def spare_chars(self) -> int:
        """Characters that are kept only for asking the question again."""
        chars = len(self.persona) if self.persona else 0
        if self.context.in_full or not (self.files or self.context.quotes):
            return chars
        chars += sum(len(file.text) for file in self.files if file.text is not None)
        return chars + sum(len(quote.text) for quote in self.context.quotes)

    def is_about(self, prompt_id: str) -> bool:
        """Whether this is the answer to that question, by any of its ids."""
        return prompt_id in {self.prompt_id, self.first}


def turn_of(
    ask: Ask,
    place: Place,
    question: str,
    answer: str,
    order: int,
    *,
    first: str | None = None,
    context: Context = NO_CONTEXT,
) -> Turn:
    """A turn with its estimated tokens. `question` is the text that was answered."""
    files = ask.attachments
    if not context.in_full:
        files = tuple(map(_kept_file, files))
        if context.quotes:
            context = replace(context, quotes=_newest_chars(context.quotes, KEPT_QUOTES_CHARS))
    asked = asked_with(question, files, context.quotes, in_full=context.in_full)
    tokens = message_tokens(asked) + message_tokens(answer)
    return Turn(
        ask.id,
        place,
        question,
        answer,
        order,
        tokens,
        first,
        files,
        ask.persona,
        ask.model,
        context,
        ask.roles,
        ask.said_at.astimezone(UTC).toordinal(),
    )


def _kept_file(file: Attachment) -> Attachment:
    """A file as it is kept for asking again: by its name alone if its text is too long."""
    if file.text is None or len(file.text) <= KEPT_FILE_CHARS:
        return file
    return file.model_copy(update={"text": None})


def _newest_chars(quotes: tuple[Quote, ...], limit_chars: int) -> tuple[Quote, ...]:
    kept = len(quotes)
    while kept and (limit_chars := limit_chars - len(quotes[kept - 1].text)) >= 0:
        kept -= 1
    return quotes[kept:]


def by_name(turn: Turn) -> Turn:
    """The turn without quotes and long files."""
    context = replace(turn.context, quotes=(), in_full=False)
    turn = replace(turn, files=tuple(map(_kept_file, turn.files)), context=context)
    return replace(turn, tokens=message_tokens(turn.asked) + message_tokens(turn.answer))


def without_spare(turn: Turn) -> Turn:
    """The turn without any data that is kept only for asking again. Its tokens stay the same."""
    turn = replace(turn, persona=None)
    if turn.context.in_full:
        return turn
    files = tuple(file.model_copy(update={"text": None}) for file in turn.files)
    return replace(turn, files=files, context=replace(turn.context, quotes=()))
