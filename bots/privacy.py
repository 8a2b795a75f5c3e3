"""The command /privacy: what people read, and what they decide with it. Pure."""

from typing import Final, Literal

from shared.messages import TRAINING

Choice = Literal["yes", "no"]

EXPLANATION: Final = (
    "I store your messages to me, my answers and your ratings: to continue our conversations, and "
    "so that whoever runs this bot can see how it is used and what it costs. Where it is "
    "permitted, language models may be trained on them. `/privacy training off` forbids that, and "
    "`/privacy training on` allows it again. `/export` gives you what I stored, and `/forget` "
    "erases it."
)
FORBIDDEN: Final = (
    "Done: no language model will be trained on your messages from now on, nor on earlier ones. "
    "Files and models that exist already are not changed."
)
ALLOWED: Final = "Done: language models may be trained on your messages."

_CHOICES: Final[dict[str, Choice]] = {f"{TRAINING} on": "yes", f"{TRAINING} off": "no"}


def choice_of(arguments: str) -> Choice | None:
    """What the words after the command decide; None: nothing, so the explanation is shown."""
    return _CHOICES.get(" ".join(arguments.lower().split()))


def settings_of(choice: Choice) -> dict[str, str]:
    """The settings of the event that stores a choice."""
    return {TRAINING: choice}


def confirmation_of(choice: Choice) -> str:
    """What people read once their choice is stored."""
    return ALLOWED if choice == "yes" else FORBIDDEN
