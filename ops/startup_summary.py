"""The first lines of a start: where the data is, which model and which NATS server are used.

Opens no connection, and never shows a key, a password or a token.
"""

from collections.abc import Iterator
from typing import Final

from dataflow.model.endpoint_name import model_in_words
from ops import demo
from ops.settings import settings_place, warnings
from shared import folders
from shared.nats_address import without_credentials
from shared.settings import Settings

NOTE: Final = "note"
"""The name of a line that a person should act on; there may be several."""

ASKS_MODEL: Final = frozenset({"up", "dataflow"})


def overview(settings: Settings, process: str) -> Iterator[tuple[str, str]]:
    """Yields the names and lines that concern this process."""
    yield "data", f"{settings.home}{'' if folders.visible(settings.home) else ' (new)'}"
    yield from new_data(settings)
    yield "settings", settings_place()
    if process in ASKS_MODEL:
        yield "model", model_in_words(settings)
        if settings.demo_model and settings.adapter is None:
            yield "scores", demo.scores_in_words()
    if process not in {"nats", "model"}:
        yield "nats", nats_description(settings)
    for warning in warnings():
        yield NOTE, warning


def new_data(settings: Settings) -> Iterator[tuple[str, str]]:
    """Warns about a new data folder if this user has another one."""
    if folders.visible(settings.home):
        return
    for other in folders.other_data(settings.home):
        text = f"this data folder is new; earlier conversations are in {other}"
        yield NOTE, f"{text} (set THREADWAX_HOME={other} to use them)"


def nats_description(settings: Settings) -> str:
    """Says which NATS server is used."""
    if settings.nats_url:
        return f"{without_credentials(settings.nats_url)} (NATS_URL)"
    return "the embedded server of this data folder"
