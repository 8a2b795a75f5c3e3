"""deploy/passwords.sh adds passwords to `.env` and never changes a line that people wrote."""

import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from dotenv import dotenv_values

from tests.running import ROOT

NAMES = {
    *re.findall(r"password: \$(\w+)", (ROOT / "deploy" / "nats-server.conf").read_text()),
    "THREADWAX_POSTGRES_PASSWORD",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the two files that the script needs, and a space in its name."""
    folder = tmp_path / "my checkout"
    (folder / "deploy").mkdir(parents=True)
    for name in ("passwords.sh", "nats-server.conf"):
        shutil.copy(ROOT / "deploy" / name, folder / "deploy" / name)
    return folder


def run(checkout: Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(checkout / "deploy" / "passwords.sh")], cwd=cwd or checkout,
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def passwords(checkout: Path) -> dict[str, str]:
    values = dotenv_values(checkout / ".env")
    return {name: value or "" for name, value in values.items() if name in NAMES}


def test_the_first_run_creates_every_password(checkout: Path, tmp_path: Path) -> None:
    """Each user of the server's config gets a different one; only the owner can read the file."""
    done = run(checkout, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = passwords(checkout)
    assert set(made) == NAMES
    assert len(NAMES) > 5
    assert len(set(made.values())) == len(NAMES)
    for value in made.values():
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9]{40,}", value)
        assert value not in done.stdout + done.stderr
    assert stat.S_IMODE((checkout / ".env").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "before",
    [
        "OPENAI_API_KEY=sk-mine\nTHREADWAX_SYSTEM_PROMPT='say \"$5\" # and so on'\n",
        '# a comment\n\nSLACK_CHANNELS={"C1": {"persona": "terse"}}',  # no newline at the end
        "OPENAI_API_KEY=sk-mine\r\nTHREADWAX_NATS_ASK_PASSWORD=\r\n",
        "THREADWAX_NATS_ASK_PASSWORD=\nTHREADWAX_NATS_SLACK_PASSWORD=''\nX=1\n",
        "# THREADWAX_NATS_ASK_PASSWORD=commented\nNOT_THREADWAX_NATS_ASK_PASSWORD=other\n",
        "",
    ],
    ids=["settings", "no final newline", "Windows", "empty passwords", "look-alikes", "empty"],
)
def test_existing_lines_are_kept(checkout: Path, before: str) -> None:
    """The file begins with exactly the bytes that it had before."""
    file = checkout / ".env"
    file.write_bytes(before.encode())
    file.chmod(0o644)
    assert run(checkout).returncode == 0
    assert file.read_bytes().startswith(before.encode())
    assert all(passwords(checkout).values())
    assert set(passwords(checkout)) == NAMES
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "line",
    [
        "THREADWAX_NATS_ASK_PASSWORD=mine1",
        "export THREADWAX_NATS_ASK_PASSWORD=mine1",
        'THREADWAX_NATS_ASK_PASSWORD = "mine1"',
        "THREADWAX_NATS_ASK_PASSWORD='mine1' ",
        "THREADWAX_NATS_ASK_PASSWORD=mine1\r",
    ],
)
def test_an_existing_password_is_kept_however_it_is_written(checkout: Path, line: str) -> None:
    (checkout / ".env").write_bytes(f"{line}\n".encode())
    done = run(checkout)
    assert done.returncode == 0, done.stderr
    assert "ASK" not in done.stdout
    assert (checkout / ".env").read_text().count("THREADWAX_NATS_ASK_PASSWORD") == 1


def test_a_second_run_changes_nothing(checkout: Path) -> None:
    """The script can be run at every upgrade. Only a deleted password is created again."""
    run(checkout)
    before = (checkout / ".env").read_bytes()
    again = run(checkout)
    assert again.returncode == 0
    assert "nothing to do" in again.stdout
    assert (checkout / ".env").read_bytes() == before
    old = passwords(checkout)
    lines = before.decode().splitlines(keepends=True)
    (checkout / ".env").write_text("".join(line for line in lines if "_SLACK_" not in line))
    run(checkout)
    changed = {name for name, value in passwords(checkout).items() if value != old[name]}
    assert changed == {"THREADWAX_NATS_SLACK_PASSWORD"}


@pytest.mark.parametrize("value", ["1secret", "p@ss", "with space", "$HOME", "pass-word"])
def test_a_password_with_special_characters_is_refused(checkout: Path, value: str) -> None:
    """The message names the variable but not its value, and nothing is written."""
    text = f"THREADWAX_NATS_ASK_PASSWORD={value}\n"
    (checkout / ".env").write_text(text)
    done = run(checkout)
    assert done.returncode == 1
    assert done.stderr.startswith("THREADWAX_NATS_ASK_PASSWORD: use letters and digits only")
    assert value not in done.stderr
    assert (checkout / ".env").read_text() == text


def test_a_symbolic_link_is_kept(checkout: Path, tmp_path: Path) -> None:
    """Some people keep `.env` in another folder."""
    kept = tmp_path / "kept.env"
    kept.write_text("A=1\n")
    (checkout / ".env").symlink_to(kept)
    assert run(checkout).returncode == 0
    assert (checkout / ".env").is_symlink()
    assert set(dotenv_values(kept)) == {"A", *NAMES}


def test_no_page_of_the_docs_overwrites_the_env_file() -> None:
    """Commands in the docs append to `.env`, which may already contain lines from another page."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert any(">> .env" in page.read_text() for page in pages)
    for page in pages:
        assert not re.search(r"(?<!>)>\s*\.env\b|\b(cp|mv) \S+ \.env\b", page.read_text()), page
