"""Settings from files of a secrets folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared import secret_files
from tests.running import ROOT

SHOW = """
from bots.discord.settings import DiscordSettings
from bots.slack.settings import SlackSettings
from shared.settings import Settings
settings, slack, discord = Settings(), SlackSettings(), DiscordSettings()
for secret in (settings.openai_api_key, slack.bot_token, discord.token):
    print(secret and secret.get_secret_value())
print(settings.nats_url)
print(sorted(slack.channels))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "secrets"
    made.mkdir()
    return made


def shown(folder: Path, cwd: Path, **env: str) -> list[str]:
    """The settings of a process that uses this secrets folder."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI", "NATS"))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SHOW],
        env={**kept, "PYTHONPATH": str(ROOT), secret_files.SERVICE_ENV: str(folder), **env},
        cwd=cwd, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_file_is_a_setting(folder: Path, tmp_path: Path) -> None:
    """This holds for all settings classes. The final line end is left out; case does not matter."""
    (folder / "OPENAI_API_KEY").write_text("sk-1\n")
    (folder / "slack_bot_token").write_text("xoxb-1")
    (folder / "DISCORD_TOKEN").write_text("d-1\r\n")
    (folder / "NATS_URL").write_text("nats://ask:p1@nats:4222\n")
    (folder / "SLACK_CHANNELS").write_text('{"C1": {"persona": "terse"}}\n')
    (folder / "unrelated").write_text("x")
    assert shown(folder, tmp_path) == [
        "sk-1", "xoxb-1", "d-1", "nats://ask:p1@nats:4222", "['C1']"
    ]  # fmt: skip


def test_environment_variables_and_dot_env_take_precedence(folder: Path, tmp_path: Path) -> None:
    """An empty variable, as Compose may pass it, does not take precedence."""
    for name in ("OPENAI_API_KEY", "SLACK_BOT_TOKEN", "DISCORD_TOKEN"):
        (folder / name).write_text("of-the-file")
    (tmp_path / ".env").write_text("SLACK_BOT_TOKEN=of-the-line\n")
    env = {"OPENAI_API_KEY": "of-the-variable", "DISCORD_TOKEN": ""}
    assert shown(folder, tmp_path, **env)[:3] == ["of-the-variable", "of-the-line", "of-the-file"]


def test_a_missing_folder_is_ignored(tmp_path: Path) -> None:
    """The default folder, which exists only in containers, can be missing or a file."""
    assert shown(tmp_path / "missing", tmp_path)[:3] == ["None"] * 3
    (tmp_path / "file").write_text("x")
    assert shown(tmp_path / "file", tmp_path)[:3] == ["None"] * 3


def test_an_unreadable_file_is_reported_in_one_line(folder: Path) -> None:
    """A secret has the mode that it has on the host, where the container's user is unknown."""
    (folder / "OPENAI_API_KEY").write_text("sk-1")
    (folder / "OPENAI_API_KEY").chmod(0)
    # As in the container, without the capability to read every file.
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    if drop and subprocess.run([*drop, "true"], check=False, capture_output=True).returncode:
        pytest.skip("root can read every file here")
    done = subprocess.run(
        [*drop, sys.executable, "-m", "ops", "gateway"],
        env={**os.environ, "PYTHONPATH": str(ROOT), secret_files.SERVICE_ENV: str(folder)},
        cwd="/", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{folder / 'OPENAI_API_KEY'} cannot be read: Permission denied. ")
