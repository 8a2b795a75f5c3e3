"""Where a chat is shown, and the plainest kind of it: answers as they are, one after the other.

A model's text is not trusted: it must never reach a terminal with its control characters.
"""

from typing import Final, Protocol, TextIO

from typing_extensions import override

from bots.terminal.sanitizing import plain

_QUESTION_CHARS: Final = 60
"""As much of an earlier question as fits into a line with the words around it."""


class Screen(Protocol):
    """Where a chat is shown. Between `waiting` and the answer one question is unanswered."""

    def note(self, text: str) -> None:
        """Shows words of the program itself."""

    def hint(self, text: str) -> None:
        """Shows words of the program that soon lose their meaning."""

    def waiting(self) -> None:
        """A question is on its way."""

    def status(self, text: str) -> None:
        """Shows why there is no answer yet, in place of the last such words, until text comes."""

    def growing(self, text: str) -> None:
        """Shows the answer so far."""

    def answer(self, text: str) -> None:
        """Shows the whole answer, of which a part may be shown already."""

    def unanswered(self) -> None:
        """The question is not waited for any more."""

    def late_answer(self, question: str, text: str) -> None:
        """Shows an answer that nobody waits for, perhaps while the person types."""

    def close(self) -> None:
        """Leaves the terminal as it was."""


class PlainScreen(Screen):
    """Answers go to standard output as they are. Everything else goes to `notes`."""

    def __init__(self, notes: TextIO | None) -> None:
        """With None, notes are not shown."""
        self._notes = notes
        self._status = ""

    @override
    def note(self, text: str) -> None:
        if self._notes:
            print(text, file=self._notes, flush=True)

    @override
    def hint(self, text: str) -> None:
        self.note(f"\n{text}")  # the line that is being typed has not ended

    @override
    def waiting(self) -> None:
        self._status = ""

    @override
    def status(self, text: str) -> None:
        # In a log it would only say that somebody had to wait.
        if self._notes and self._notes.isatty() and text != self._status:
            self._status = text
            self.note(plain(text))

    @override
    def growing(self, text: str) -> None:
        """Nothing: an answer that was printed cannot be taken back."""

    @override
    def answer(self, text: str) -> None:
        print(plain(text), flush=True)  # noqa: T201  (what the person asked for)

    @override
    def unanswered(self) -> None:
        """Nothing was shown of it."""

    @override
    def late_answer(self, question: str, text: str) -> None:
        self.note(f"{late_heading(question)}\n{plain(text)}")

    @override
    def close(self) -> None:
        """Nothing: everything is written."""


def late_heading(question: str) -> str:
    """The words above an answer to a question of an earlier chat."""
    words = " ".join(plain(question).split())
    if len(words) > _QUESTION_CHARS:
        words = words[: _QUESTION_CHARS - 1] + "…"
    return f"Answer to your earlier question «{words}»:"
