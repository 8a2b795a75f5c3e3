"""The command line: help, version, wrong settings, and the first lines of a start."""

import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ops.cli import threadwax
from tests.running import ROOT


def run(*arguments: str, cwd: Path = ROOT, **extra: str) -> subprocess.CompletedProcess[str]:
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("OPENAI", "NATS", "THREADWAX"))
    }
    return subprocess.run(
        [sys.executable, "-m", "ops", *arguments], env={**kept, **extra}, cwd=cwd,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_version_is_that_of_the_package() -> None:
    shown = CliRunner().invoke(threadwax, ["--version"])
    assert (shown.exit_code, shown.output) == (0, f"threadwax {version('threadwax')}\n")


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_help_shows_each_description_completely(columns: int) -> None:
    """Lines are wrapped, never cut; the exit codes and shell completion are explained."""
    shown = CliRunner().invoke(threadwax, ["--help"], terminal_width=columns)
    text = " ".join(shown.output.split())
    for command in threadwax.commands.values():
        sentence = command.get_short_help_str(1000)
        assert sentence.rstrip(".") in text, sentence
    assert "..." not in text.partition("Commands:")[2].partition("First steps")[0]
    for words in ("Exit codes:", "_THREADWAX_COMPLETE=bash_source", "78"):
        assert words in text


@pytest.mark.parametrize("name", sorted(threadwax.commands))
def test_help_of_each_command_shows_the_defaults(name: str) -> None:
    shown = CliRunner().invoke(threadwax, [name, "--help"])
    assert shown.exit_code == 0
    for option in threadwax.commands[name].params:
        if isinstance(option.default, int | float) and not isinstance(option.default, bool):
            assert f"default: {option.default}" in shown.output


@pytest.mark.parametrize(
    ("group", "name"),
    [
        (group.name, name)
        for group in threadwax.commands.values()
        if isinstance(group, click.Group)
        for name in group.commands
    ],
)
def test_help_of_each_subcommand_shows_no_empty_default(group: str, name: str) -> None:
    """It would seem to be a value that one has to type."""
    shown = CliRunner().invoke(threadwax, [group, name, "--help"])
    assert shown.exit_code == 0
    assert 'default: ""' not in shown.output


def test_shell_completion_knows_the_commands() -> None:
    shown = run(_THREADWAX_COMPLETE="bash_complete", COMP_WORDS="threadwax da", COMP_CWORD="1")
    assert shown.stdout == "plain,dataflow\n"


@pytest.mark.parametrize(
    "command", ["up", "nats", "model", "dataflow", "gateway", "slack", "discord", "chat", "doctor"]
)
def test_every_command_reports_a_wrong_setting_in_one_line(tmp_path: Path, command: str) -> None:
    """The line names the variable but not its value, and there is no traceback."""
    ran = run(command, THREADWAX_HOME=str(tmp_path), THREADWAX_HTTP_PORT="sk-secret")
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert line.startswith("THREADWAX_HTTP_PORT: it is not a whole number")
    assert "sk-secret" not in line


def test_a_malformed_env_file_is_reported_in_one_line(tmp_path: Path) -> None:
    """The library that reads it would report it once per settings class."""
    (tmp_path / ".env").write_text("A=1\nB=2\nthis is not a setting\n")
    ran = run("slack", cwd=tmp_path)
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert line.startswith(f"{tmp_path}/.env, line 3: this is not a setting")


def test_a_wrong_setting_of_a_platform_is_reported_without_a_traceback(tmp_path: Path) -> None:
    ran = run("slack", THREADWAX_HOME=str(tmp_path), SLACK_CHANNELS="{bad json}")
    assert ran.returncode == 2
    assert "SLACK_CHANNELS: it is not JSON (character 2)" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_ask_without_a_server_says_what_to_start(tmp_path: Path) -> None:
    ran = run("ask", "--user", "ada", "hello", THREADWAX_HOME=str(tmp_path))
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"no NATS server is running on the data folder {tmp_path}")


def test_a_start_in_another_folder_says_where_the_earlier_data_is(tmp_path: Path) -> None:
    """A notice appears before an empty data folder is used."""
    (tmp_path / ".env").touch()
    data = tmp_path / "limit"
    (data / "threadwax" / "dataflow").mkdir(parents=True)
    ran = run("gateway", "--http-port", "0", cwd=tmp_path, NATS_URL="nats://127.0.0.1:9/x")
    assert ran.returncode == 2
    ran = run(
        "up", "--no-chat", cwd=tmp_path, NATS_URL="nats://127.0.0.1:9", XDG_DATA_HOME=str(data)
    )
    assert f"data       {tmp_path}/.threadwax (new)\n" in ran.stderr
    if sys.platform == "linux":
        assert f"earlier conversations are in {data}/threadwax" in ran.stderr
    assert f"settings   {tmp_path}/.env\n" in ran.stderr


@pytest.mark.parametrize("command", ["doctor", "slack", "up"])
def test_ctrl_c_during_the_imports_prints_no_traceback(tmp_path: Path, command: str) -> None:
    """The imports take the first half second of a start."""
    process = subprocess.Popen(
        [sys.executable, "-v", "-m", "ops", command], env={**os.environ, "HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr
    for line in process.stderr:  # one line per import
        if line.startswith("import 'click'"):
            process.send_signal(signal.SIGINT)
            break
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert "Traceback" not in errors
