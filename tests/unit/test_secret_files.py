"""Settings from files of a secrets folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bots.discord.settings import DiscordSettings
from bots.slack.settings import SlackSettings
from bots.web.settings import WebSettings
from ops.setting_names import PREFIXES
from ops.settings import faults, read
from shared import secret_files
from shared.named_secrets import secret_names
from shared.settings import Settings
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

SHOW_RENAMED = """
from bots.discord.settings import DiscordSettings
from ops.settings import warnings
from shared.settings import Settings
print(sorted(DiscordSettings().channels))
print(Settings().evict_after_s)
print(*warnings(), sep="\\n")
"""

SHOW_FAULTS = """
from ops.settings import faults
from shared.settings import Settings
print(*faults(Settings), sep="\\n")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "secrets"
    made.mkdir()
    return made


def shown(folder: Path, cwd: Path, program: str = SHOW, **env: str) -> list[str]:
    """The lines that a process with this secrets folder prints."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(PREFIXES)}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
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


def test_a_folder_as_kubernetes_mounts_it(folder: Path, tmp_path: Path) -> None:
    """Each key of a Secret is a link into a hidden folder, which is replaced as a whole."""
    (folder / "..2026_11_27_12_00_00.1").mkdir()
    (folder / "..data").symlink_to("..2026_11_27_12_00_00.1")
    values = {
        "OPENAI_API_KEY": "sk-1", "SLACK_BOT_TOKEN": "xoxb-1", "DISCORD_TOKEN": "d-1",
        "NATS_URL": "tls://ask:p1@nats-0.nats:4222,nats-1.nats:4222", "SLACK_CHANNELS": "{}",
    }  # fmt: skip
    for name, value in values.items():
        (folder / "..data" / name).write_text(value)
        (folder / name).symlink_to(f"..data/{name}")
    assert shown(folder, tmp_path) == [*list(values.values())[:4], "[]"]


def test_a_variable_names_the_file_of_a_secret(folder: Path, tmp_path: Path) -> None:
    """In the environment or in `.env`; the variable without _FILE takes precedence."""
    for name in ("key", "token", "other", "url"):
        (tmp_path / name).write_text(f"{name}-1\n")
    (tmp_path / "url").write_text("nats://ask:p1@nats:4222\n")
    (folder / "DISCORD_TOKEN").write_text("less specific")
    (tmp_path / ".env").write_text(f"DISCORD_TOKEN_FILE={tmp_path}/other\n")
    mine = {"SLACK_BOT_TOKEN": "xoxb-2"}
    lines = shown(
        folder, tmp_path, OPENAI_API_KEY_FILE=f"{tmp_path}/key", NATS_URL_FILE=f"{tmp_path}/url",
        SLACK_BOT_TOKEN_FILE=f"{tmp_path}/token", SLACK_CHANNELS="{}", **mine,
    )  # fmt: skip
    assert lines == ["key-1", "xoxb-2", "other-1", "nats://ask:p1@nats:4222", "[]"]


def test_a_named_file_that_cannot_be_used_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the file; other settings cannot be given like this."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").write_text("\n")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(tmp_path / "empty"))
    (fault,) = faults(Settings)
    assert fault.startswith(f"{tmp_path}/empty is empty: write the value of OPENAI_API_KEY into it")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(tmp_path / "missing"))
    (fault,) = faults(Settings)
    assert fault.startswith(f"{tmp_path}/missing cannot be read: ")
    (tmp_path / "bad").write_bytes(b"sk-\xff")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(tmp_path / "bad"))
    (fault,) = faults(Settings)
    assert fault.startswith("OPENAI_API_KEY: ")
    assert "set by a file: OPENAI_API_KEY_FILE is set in the environment" in fault
    monkeypatch.delenv("OPENAI_API_KEY_FILE")
    (tmp_path / "model").write_text("m\n")
    monkeypatch.setenv("THREADWAX_MODEL_FILE", str(tmp_path / "model"))
    assert Settings().model is None
    with pytest.raises(SystemExit):
        read(Settings)
    assert "THREADWAX_MODEL_FILE in the environment is not a setting" in capsys.readouterr().err


def test_every_secret_of_every_part_can_be_named() -> None:
    """Those that are never printed, and the addresses that contain passwords."""
    assert secret_names(Settings) == {
        "NATS_URL", "OPENAI_API_KEY", "OPENAI_FALLBACK_API_KEY", "DATABASE_URL",
    }  # fmt: skip
    assert "SLACK_INSTALLATIONS_URL" in secret_names(SlackSettings)
    assert secret_names(DiscordSettings) == {"DISCORD_TOKEN"}
    assert secret_names(WebSettings) == {"THREADWAX_WEB_OIDC_CLIENT_SECRET"}


def test_the_old_name_of_a_setting_is_read_and_reported(folder: Path, tmp_path: Path) -> None:
    """Also in lower case. The warning names the new setting and the file to rename."""
    (folder / "DISCORD_PERSONAS").write_text('{"1": {"persona": "terse"}}\n')
    (folder / "threadwax_rest_after_s").write_text("60\n")
    (folder / "unrelated").write_text("x")
    discord, settings, *warnings = shown(folder, tmp_path, program=SHOW_RENAMED)
    assert (discord, settings) == ("[1]", "60.0")
    assert [line.split(": ")[0] for line in warnings] == [
        "DISCORD_PERSONAS is now called DISCORD_CHANNELS",
        "THREADWAX_REST_AFTER_S is now called THREADWAX_EVICT_AFTER_S",
    ]
    assert str(folder / "DISCORD_PERSONAS") in warnings[0]
    assert str(folder / "threadwax_rest_after_s") in warnings[1]


def test_an_error_names_the_file(folder: Path, tmp_path: Path) -> None:
    """A person has to know which of many files is wrong."""
    (folder / "THREADWAX_HTTP_PORT").write_text("99999")
    (fault,) = shown(folder, tmp_path, program=SHOW_FAULTS)
    assert fault.endswith(f"(set by the file {folder / 'THREADWAX_HTTP_PORT'})")
    assert "99999" not in fault


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
