"""Where a chat is shown, and the simplest screen: answers as they are, one after the other.

The model's text is not trusted: its control characters must never reach a terminal.
"""

from typing import Final, Protocol, TextIO

from typing_extensions import override

from bots.terminal.sanitizing import sanitized

_QUESTION_CHARS: Final = 60
"""As much of an earlier question as fits into one line of a heading."""


class Screen(Protocol):
    """Where a chat is shown. One question is open between `waiting` and its answer."""

    def note(self, text: str) -> None:
        """Shows a message of the program itself."""

    def hint(self, text: str) -> None:
        """Shows a message of the program that matters for a few seconds only."""

    def waiting(self) -> None:
        """Shows that a question was sent."""

    def status(self, text: str) -> None:
        """Shows why there is no text yet, replacing the previous reason, until text comes."""

    def show_partial(self, text: str) -> None:
        """Shows the answer so far."""

    def answer(self, text: str) -> None:
        """Shows the complete answer, part of which may be visible already."""

    def stop_waiting(self) -> None:
        """Shows that the question is no longer waited for."""

    def late_answer(self, question: str, text: str) -> None:
        """Shows an answer to an earlier question, possibly while the person types."""

    def close(self) -> None:
        """Restores the terminal."""


class PlainScreen(Screen):
    """Prints answers to standard output and everything else to `notes`."""

    def __init__(self, notes: TextIO | None) -> None:
        """`notes` is a stream; with None, nothing but answers is shown."""
        self._notes = notes
        self._status = ""

    @override
    def note(self, text: str) -> None:
        if self._notes:
            print(text, file=self._notes, flush=True)

    @override
    def hint(self, text: str) -> None:
        self.note(f"\n{text}")  # the line being typed has not ended

    @override
    def waiting(self) -> None:
        self._status = ""

    @override
    def status(self, text: str) -> None:
        # Only on a terminal: a log does not need it.
        if self._notes and self._notes.isatty() and text != self._status:
            self._status = text
            self.note(sanitized(text))

    @override
    def show_partial(self, text: str) -> None:
        """Does nothing: a printed answer could not be taken back."""

    @override
    def answer(self, text: str) -> None:
        print(sanitized(text), flush=True)  # noqa: T201  (what the person asked for)

    @override
    def stop_waiting(self) -> None:
        """Does nothing: no part of it was shown."""

    @override
    def late_answer(self, question: str, text: str) -> None:
        self.note(f"{late_heading(question)}\n{sanitized(text)}")

    @override
    def close(self) -> None:
        """Does nothing: everything is written."""


def late_heading(question: str) -> str:
    """The heading of an answer to a question of an earlier chat."""
    words = " ".join(sanitized(question).split())
    if len(words) > _QUESTION_CHARS:
        words = words[: _QUESTION_CHARS - 1] + "…"
    return f"Answer to your earlier question «{words}»:"
