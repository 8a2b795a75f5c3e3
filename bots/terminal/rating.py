"""What `/good`, `/bad` and `/correct` say about the latest answer.

Pure. A rating replaces the one before it, so each repeats what was said about the same answer.
"""

from dataclasses import dataclass
from typing import Final, Literal

from shared.messages import REASON_LIMIT_CHARS

GOOD: Final = "/good"
BAD: Final = "/bad"
CORRECT: Final = "/correct"
COMMANDS: Final = frozenset({GOOD, BAD, CORRECT})

NOTHING_TO_RATE: Final = "There is no answer in this chat to rate yet."
NO_CORRECTION: Final = f"Write the better answer after the command: {CORRECT} Paris"
LONG_REASON: Final = (
    f"Not sent: a reason has at most {REASON_LIMIT_CHARS:,} characters. Please shorten it."
)

NOTED: Final = {
    GOOD: "Noted: a good answer.",
    BAD: f"Noted: a bad answer. {CORRECT} and a better one say what it should have been.",
    CORRECT: "Noted, with the better answer.",
}


@dataclass(frozen=True, slots=True)
class Opinion:
    """What somebody thinks of one answer."""

    prompt_id: str
    thumb: Literal["up", "down", "none"] = "none"
    reason: str = ""
    correction: str = ""

    def after(self, command: str, text: str) -> "Opinion | str":
        """The opinion after one more command with this text; or why the command is refused."""
        match command:
            case "/good":
                return Opinion(self.prompt_id, "up", text) if _fits(text) else LONG_REASON
            case "/bad":
                reason = text or self.reason
                opinion = Opinion(self.prompt_id, "down", reason, self.correction)
                return opinion if _fits(text) else LONG_REASON
            case _:
                reason = self.reason if self.thumb == "down" else ""
                return Opinion(self.prompt_id, "down", reason, text) if text else NO_CORRECTION


def _fits(reason: str) -> bool:
    return len(reason) <= REASON_LIMIT_CHARS
