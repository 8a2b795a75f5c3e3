"""What a start prints first: where the data is, which model answers, which NATS, what is missing.

Opens no connection, and never shows a key, a password or a token.
"""

from collections.abc import Iterator
from typing import Final

from dataflow.model.endpoint_name import model_in_words
from ops.settings import settings_place, warnings
from shared import folders
from shared.nats_address import without_credentials
from shared.settings import Settings

ASKS_MODEL: Final = frozenset({"up", "dataflow"})


def overview(settings: Settings, process: str) -> Iterator[tuple[str, str]]:
    """Names and lines for the screen, as far as they concern this process."""
    yield "data", f"{settings.home}{'' if folders.visible(settings.home) else ' (new)'}"
    yield from new_data(settings)
    yield "settings", settings_place()
    if process in ASKS_MODEL:
        yield "model", model_in_words(settings)
    if process not in {"nats", "model"}:
        yield "nats", nats_in_words(settings)
    for warning in warnings():
        yield "note", warning


def new_data(settings: Settings) -> Iterator[tuple[str, str]]:
    """Says that a start makes a data folder although this user has one elsewhere."""
    if folders.visible(settings.home):
        return
    for other in folders.other_data(settings.home):
        text = f"this start begins with an empty memory; another one is in {other}"
        yield "note", f"{text} (THREADWAX_HOME={other} uses it)"


def nats_in_words(settings: Settings) -> str:
    """Which NATS server is used."""
    if settings.nats_url:
        return f"{without_credentials(settings.nats_url)} (NATS_URL)"
    return "the embedded server of this data folder"
