"""How the data folder and `.env` are found."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bots.terminal.run import user_name
from shared import folders
from shared.settings import Settings

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder; THREADWAX_HOME is not set."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("THREADWAX_HOME", raising=False)
    return folder


def test_a_folder_with_data_or_settings_is_used(here: Path) -> None:
    """The current folder is used if it has one of the two."""
    (here / ".env").write_text("THREADWAX_MODEL=one\n")
    assert Settings().home == here / ".threadwax"
    assert Settings().model == "one"
    (here / ".env").unlink()
    (here / ".threadwax").mkdir()
    assert Settings().home == here / ".threadwax"
    assert Settings().model is None


@pytest.mark.usefixtures("here")
def test_a_checkout_uses_its_own_data_from_any_folder() -> None:
    """The `threadwax` in a checkout's `.venv` always uses the data of the checkout."""
    assert Settings().home == CHECKOUT / ".threadwax"
    assert folders.settings_file() == CHECKOUT / ".env"


def test_an_installed_program_uses_the_users_folders(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are the usual ones of the operating system, such as the XDG folders on Linux."""
    monkeypatch.setattr(folders, "_PROGRAM", here)
    monkeypatch.setenv("XDG_DATA_HOME", str(here / "limit"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(here / "config"))
    if sys.platform == "linux":
        assert Settings().home == here / "limit" / "threadwax"
        assert folders.settings_file() == here / "config" / "threadwax" / ".env"
    assert Settings().home.is_absolute()


def test_threadwax_home_takes_precedence(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the environment, it is relative to the current folder; in `.env`, to that file."""
    monkeypatch.setenv("THREADWAX_HOME", "mine")
    assert Settings().home == here / "mine"
    monkeypatch.delenv("THREADWAX_HOME")
    (here / ".env").write_text("THREADWAX_HOME=ours\n")
    assert Settings().home == here / "ours"
    monkeypatch.setenv("THREADWAX_HOME", "~/deep")
    assert Settings().home == Path.home() / "deep"


def test_data_in_another_folder_is_reported(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start with an empty data folder names the folder that has data."""
    (here / ".env").touch()
    older = here / "older"
    (older / ".threadwax" / "nats").mkdir(parents=True)
    monkeypatch.setattr(folders, "_PROGRAM", older)
    monkeypatch.setenv("XDG_DATA_HOME", str(here / "limit"))
    assert folders.other_data(Settings().home) == [older / ".threadwax"]
    assert folders.other_data(older / ".threadwax") == []


def test_a_deleted_current_folder_is_reported_in_one_line(tmp_path: Path) -> None:
    """A shell can still be in such a folder."""
    folder = tmp_path / "gone"
    folder.mkdir()
    script = f"cd {folder} && rmdir {folder} && {sys.executable} -m ops doctor"
    ran = subprocess.run(
        ["sh", "-c", script],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert ran.stderr == "the current folder no longer exists: change to one that does\n"


def test_a_user_without_an_entry_needs_no_home(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some containers run as a user without a passwd entry, and set THREADWAX_HOME."""
    for name in (
        "HOME",
        "XDG_DATA_HOME",
        "XDG_CONFIG_HOME",
        "LOGNAME",
        "USER",
        "LNAME",
        "USERNAME",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(folders, "_PROGRAM", here)
    monkeypatch.setattr(os, "getuid", lambda: 54_321)
    assert Settings().home == Path("/nonexistent/threadwax")
    assert folders.settings_file() == Path("/nonexistent/threadwax/.env")
    assert user_name() == "user54321"


@pytest.mark.parametrize("command", ["doctor", "nats"])
def test_an_inaccessible_current_folder_counts_as_empty(tmp_path: Path, command: str) -> None:
    """After `su`, the current folder often belongs to the previous user."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    user = "setpriv --bounding-set -all --inh-caps -all" if os.geteuid() == 0 else ""
    file = tmp_path / "file"
    file.touch()
    ran = subprocess.run(
        ["sh", "-c", f"cd {folder} && chmod 000 . && {user} {sys.executable} -m ops {command}"],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "THREADWAX_HOME": str(file)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in ran.stderr
    assert f"{file} is not a folder" in ran.stdout + ran.stderr
