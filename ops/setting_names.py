"""Finds names that look like settings but are not, and guesses which setting was meant.

Pure. Variables of other software must never stop a start, unless they are in our own `.env`.
"""

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

PREFIXES: Final = ("THREADWAX_", "SLACK_", "DISCORD_", "OPENAI_", "NATS_")

BEGINNINGS: Final = tuple(prefix[:2] for prefix in PREFIXES)
"""Environment variables with other beginnings are ignored: comparing all would take too long."""

NEAR: Final = 0.85
"""difflib's ratio for a misspelling: one or two wrong letters of a dozen."""

SIMILAR: Final = 0.7
"""difflib's ratio for a name that is worth suggesting."""

READ_BY_OPENAI: Final = frozenset(
    {
        "OPENAI_ADMIN_KEY",
        "OPENAI_CUSTOM_HEADERS",
        "OPENAI_LOG",
        "OPENAI_ORG_ID",
        "OPENAI_PROJECT_ID",
        "OPENAI_WEBHOOK_SECRET",
    }
)
"""Variables that the openai library reads itself; they are allowed in `.env`."""

READ_BY_OTHERS: Final = frozenset(
    {
        "DISCORD_BOT_TOKEN",
        "NATS_CREDS",
        "NATS_HOST",
        "NATS_PASSWORD",
        "NATS_PORT",
        "NATS_SERVER",
        "NATS_USER",
        "OPENAI_API_BASE",
        "OPENAI_API_TYPE",
        "OPENAI_API_VERSION",
        "OPENAI_MODEL",
        "OPENAI_ORGANIZATION",
        "SLACK_TOKEN",
        "SLACK_USER_TOKEN",
        "SLACK_WEBHOOK_URL",
    }
)
"""Variables of other tools. They are ignored in the environment, and errors in our `.env`."""

MEANT: Final = {
    "DISCORD_BOT_TOKEN": "DISCORD_TOKEN",
    "NATS_CREDS": "NATS_URL",
    "NATS_HOST": "NATS_URL",
    "NATS_PASSWORD": "NATS_URL",
    "NATS_PORT": "NATS_URL",
    "NATS_SERVER": "NATS_URL",
    "NATS_USER": "NATS_URL",
    "OPENAI_API_BASE": "OPENAI_BASE_URL",
    "OPENAI_KEY": "OPENAI_API_KEY",
    "OPENAI_MODEL": "THREADWAX_MODEL",
    "OPENAI_URL": "OPENAI_BASE_URL",
    "SLACK_TOKEN": "SLACK_BOT_TOKEN",
    "THREADWAX_DATA": "THREADWAX_HOME",
    "THREADWAX_PORT": "THREADWAX_HTTP_PORT",
}
"""Settings by names that people use for them, but that are too different to be guessed."""

_INTERNAL: Final = re.compile(
    r"THREADWAX_(SUPERVISED|PARENT|NATS_[A-Z_0-9]+|POSTGRES_PASSWORD|PROMETHEUS_PORT)"
)
"""Variables that `up` sets for its parts, and passwords and ports for docker-compose.yml."""

_KUBERNETES: Final = re.compile(
    r"[A-Z_]+_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP)(_\w+)?)?)"
)
"""Variables in every pod for each service of its namespace, such as one called nats."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A name that is not a setting. `meant` is the most similar one, or empty."""

    name: str
    meant: str
    stops: bool
    """Whether this stops the start, so that a misspelled setting is not silently ignored."""


def unknown_in_file(name: str, known: Collection[str]) -> Unknown | None:
    """Checks a name in `.env`, where every name with one of our prefixes must be a setting."""
    name = name.upper()
    if name in known or name in READ_BY_OPENAI or _INTERNAL.fullmatch(name):
        return None
    meant, ratio = _nearest(name, known)
    if name.startswith(PREFIXES) or ratio >= NEAR:
        return Unknown(name, meant, stops=True)
    return None


def unknown_in_environment(name: str, known: Collection[str]) -> Unknown | None:
    """Checks an environment variable, which can belong to other software."""
    name = name.upper()
    if not name.startswith(BEGINNINGS) or name in known or _INTERNAL.fullmatch(name):
        return None
    if name in READ_BY_OPENAI:
        return None
    if name not in MEANT and _KUBERNETES.fullmatch(name):
        return None
    meant, ratio = _nearest(name, known)
    if name in READ_BY_OTHERS or name in MEANT:
        return Unknown(name, meant, stops=False) if name in MEANT else None
    if ratio >= NEAR:
        return Unknown(name, meant, stops=True)
    return Unknown(name, meant, stops=False) if name.startswith(PREFIXES[0]) else None


def _nearest(name: str, known: Collection[str]) -> tuple[str, float]:
    if (meant := MEANT.get(name)) is not None:
        return meant, 0.0
    found = difflib.get_close_matches(name, sorted(known), n=1, cutoff=SIMILAR)
    if not found:
        return "", 0.0
    return found[0], difflib.SequenceMatcher(None, found[0], name).ratio()
