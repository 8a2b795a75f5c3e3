"""The settings and `.env.example`, which `python -m tests.unit.test_settings` updates."""

import re
import textwrap
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from bots.discord.settings import DiscordSettings
from bots.slack.settings import SlackSettings
from bots.web.settings import WebSettings
from dataflow.model.dialects import OPENAI_DEFAULT_MODEL
from ops.setting_names import unknown_in_file
from shared.private_file import private_file
from shared.settings import Settings
from shared.traces.settings import TraceSettings

EXAMPLE = Path(__file__).parents[2] / ".env.example"
HEADER = """\
# Every setting, with its default. Copy this file to .env and uncomment what you change.
# Environment variables win over .env.
"""


ALL: tuple[type[BaseSettings], ...] = (
    Settings, SlackSettings, DiscordSettings, WebSettings, TraceSettings,
)  # fmt: skip
"""All settings classes; each platform has its own in its folder."""


def all_fields() -> list[FieldInfo]:
    return [field for settings in ALL for field in settings.model_fields.values()]


def rendered() -> str:
    """The text of the example file for the current settings."""
    blocks = [HEADER]
    for field in all_fields():
        description = textwrap.wrap(field.description or "", width=96)
        default = field.get_default(call_default_factory=False)
        if default in (None, PydanticUndefined) or default in ((), [], {}, frozenset()):
            default = ""
        if isinstance(default, bool):
            default = str(default).lower()
        comment = "".join(f"# {line}\n" for line in description)
        blocks.append(f"{comment}# {field.alias}={default}\n")
    return "\n".join(blocks)


def test_example_file_lists_every_setting() -> None:
    """`.env.example` is generated from the settings."""
    assert EXAMPLE.read_text() == rendered(), "run: python -m tests.unit.test_settings"


def test_every_setting_is_described() -> None:
    """Without a description, nobody would know how to use it."""
    for field in all_fields():
        assert field.alias, field
        assert field.description, field.alias


def test_secrets_are_not_printed() -> None:
    """The printed form of the settings contains no key."""
    shown = Settings.model_validate({"OPENAI_API_KEY": "sk-secret"})
    assert "sk-secret" not in repr(shown)


@pytest.mark.parametrize("kind", ALL)
def test_no_other_variable_is_read_as_a_setting(
    kind: type[BaseSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HOME is the user's folder, not the data folder; MODEL and HOST can belong to any program."""
    monkeypatch.chdir(tmp_path)
    for field in kind.model_fields.values():
        monkeypatch.delenv(str(field.alias), raising=False)
    before = kind()
    for name in {name.upper() for name in kind.model_fields} - {f.alias for f in all_fields()}:
        monkeypatch.setenv(name, "1")
    assert kind() == before


def test_bus_url_is_the_configured_server_or_the_one_of_the_data_folder(tmp_path: Path) -> None:
    """It is NATS_URL or the running embedded server, but never just a server on the usual port."""
    embedded = Settings.model_validate({"THREADWAX_HOME": tmp_path})
    assert embedded.bus_url() == f"embedded:{tmp_path}/nats/url"
    private_file(embedded.embedded_nats_url_file, "nats://u:p@127.0.0.1:5\n")
    assert embedded.bus_url() == "nats://u:p@127.0.0.1:5"
    configured = embedded.model_copy(update={"nats_url": "nats://elsewhere"})
    assert configured.bus_url() == "nats://elsewhere"


def test_compose_names_only_settings_that_exist() -> None:
    """Otherwise a variable of docker-compose.yml in `.env` would stop the start."""
    text = (EXAMPLE.parent / "docker-compose.yml").read_text()
    names = set(re.findall(r"\$\{?([A-Z][A-Z0-9_]+)", text))
    known = {str(field.alias) for field in all_fields()}
    assert names
    assert not [name for name in names if unknown_in_file(name, known) is not None]


def test_the_example_file_names_the_default_model() -> None:
    """The description of THREADWAX_MODEL names it."""
    assert OPENAI_DEFAULT_MODEL in str(Settings.model_fields["model"].description)


if __name__ == "__main__":
    EXAMPLE.write_text(rendered())
