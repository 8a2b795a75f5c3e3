"""The parts that `threadwax up` can start, and what turns each of them on.

Starts nothing. It must never stop a start: an adapter reports its wrong settings itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ops.supervise import STOP_DEADLINE_S
from ops.web import is_installed
from shared.settings import Settings

DATAFLOW_STOP_S: Final = 25.0
"""The dataflow finishes answers in progress for up to 20 s."""

WEB: Final = "web"
"""The name of the web page."""


@dataclass(frozen=True, slots=True)
class Part:
    """A command, and whether the settings require it."""

    name: str
    wanted: Callable[[Settings], bool]
    stop_s: float = STOP_DEADLINE_S
    how: str = ""
    """How to enable it, for a part that is off."""


def _always(_: Settings) -> bool:
    return True


def _has_slack(_: Settings) -> bool:
    from pydantic import ValidationError

    from bots.slack.settings import SlackSettings

    try:
        return SlackSettings().is_wanted
    except ValidationError:
        return True  # the adapter reports what is wrong


def _has_discord(_: Settings) -> bool:
    from pydantic import ValidationError

    from bots.discord.settings import DiscordSettings

    try:
        return DiscordSettings().token is not None
    except ValidationError:
        return True  # the adapter reports what is wrong


PARTS: Final = (
    Part("model", lambda settings: settings.demo_model),
    Part("dataflow", _always, stop_s=DATAFLOW_STOP_S),
    Part("gateway", _always),
    Part("slack", _has_slack, how="set SLACK_BOT_TOKEN and SLACK_APP_TOKEN: docs/slack.md"),
    Part("discord", _has_discord, how="set DISCORD_TOKEN: docs/discord.md"),
    Part("recorder", lambda settings: settings.recorder == "on"),
    Part(
        WEB,
        lambda settings: settings.web == "on" and is_installed(),
        how="run `make web`: docs/web.md",
    ),
)
"""All parts in the order in which they start; they stop in reverse order."""


def parts_off(settings: Settings) -> list[Part]:
    """The parts that are off, unless a person turned them off by a setting."""
    return [
        part for part in PARTS
        if part.how and not part.wanted(settings) and (part.name != WEB or settings.web == "on")
    ]  # fmt: skip
