"""The old name of a renamed setting is still read, with a warning that gives the new name."""

import pytest
from pydantic import Field

from bots.discord.settings import DiscordSettings
from shared.setting_kinds import FromEnvironment, new_names, renamed


class Renamed(FromEnvironment):
    """A setting that was called SLACK_OLD_NAME."""

    limit: int = Field(
        1, alias="SLACK_NEW_NAME", validation_alias=renamed("SLACK_OLD_NAME", "SLACK_NEW_NAME")
    )


@pytest.mark.parametrize("name", ["SLACK_OLD_NAME", "SLACK_NEW_NAME"])
def test_both_names_are_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade must not break an installation that still uses the old name."""
    monkeypatch.setenv(name, "2")
    assert Renamed().limit == 2


def test_the_new_name_takes_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forgotten old name must not override the new one."""
    monkeypatch.setenv("SLACK_OLD_NAME", "2")
    monkeypatch.setenv("SLACK_NEW_NAME", "3")
    assert Renamed().limit == 3


def test_the_warning_about_an_old_name_gives_the_new_one() -> None:
    """The warning at the start names both."""
    assert new_names(Renamed) == {"SLACK_OLD_NAME": "SLACK_NEW_NAME"}


@pytest.mark.parametrize(
    ("old", "new"),
    [("DISCORD_PERSONAS", "DISCORD_CHANNELS"), ("DISCORD_ANSWER_EDITS", "DISCORD_EDIT_ASKS_AGAIN")],
)
def test_discord_settings_were_renamed_after_those_of_slack(old: str, new: str) -> None:
    """The names that Discord's settings had in the previous release are still read."""
    assert new_names(DiscordSettings)[old] == new
    value = '{"1": {"persona": "terse"}}' if new == "DISCORD_CHANNELS" else "true"
    renamed_settings = DiscordSettings.model_validate({old: value})
    assert renamed_settings == DiscordSettings.model_validate({new: value})
    assert renamed_settings != DiscordSettings.model_validate({})
