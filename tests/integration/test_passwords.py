"""deploy/passwords.sh: it completes `.env` and never changes what people wrote there."""

import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from dotenv import dotenv_values

from tests.running import ROOT

NAMES = set(re.findall(r"password: \$(\w+)", (ROOT / "deploy" / "nats-server.conf").read_text()))


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


def test_first_run_makes_every_password(checkout: Path, tmp_path: Path) -> None:
    """One for each user of the server's config, all different, in a file of one's own."""
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
        '# a comment\n\nSLACK_CHANNELS={"C1": {"persona": "terse"}}',  # without an end
        "OPENAI_API_KEY=sk-mine\r\nTHREADWAX_NATS_ASK_PASSWORD=\r\n",
        "THREADWAX_NATS_ASK_PASSWORD=\nTHREADWAX_NATS_SLACK_PASSWORD=''\nX=1\n",
        "# THREADWAX_NATS_ASK_PASSWORD=commented\nNOT_THREADWAX_NATS_ASK_PASSWORD=other\n",
        "",
    ],
    ids=["settings", "no end of line", "windows", "empty passwords", "look-alikes", "empty"],
)
def test_lines_of_people_stay(checkout: Path, before: str) -> None:
    """What was in the file is its beginning afterwards, byte by byte."""
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
def test_own_password_is_kept(checkout: Path, line: str) -> None:
    """However it is written."""
    (checkout / ".env").write_bytes(f"{line}\n".encode())
    done = run(checkout)
    assert done.returncode == 0, done.stderr
    assert "ASK" not in done.stdout
    assert (checkout / ".env").read_text().count("THREADWAX_NATS_ASK_PASSWORD") == 1


def test_second_run_changes_nothing(checkout: Path) -> None:
    """So it is safe at every upgrade; a deleted line gets a new password, and no other does."""
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
def test_password_that_breaks_things_is_refused(checkout: Path, value: str) -> None:
    """The variable is named, its value is not, and nothing is written."""
    text = f"THREADWAX_NATS_ASK_PASSWORD={value}\n"
    (checkout / ".env").write_text(text)
    done = run(checkout)
    assert done.returncode == 1
    assert done.stderr.startswith("THREADWAX_NATS_ASK_PASSWORD: use letters and digits only")
    assert value not in done.stderr
    assert (checkout / ".env").read_text() == text


def test_link_stays_a_link(checkout: Path, tmp_path: Path) -> None:
    """Some people keep `.env` elsewhere."""
    kept = tmp_path / "kept.env"
    kept.write_text("A=1\n")
    (checkout / ".env").symlink_to(kept)
    assert run(checkout).returncode == 0
    assert (checkout / ".env").is_symlink()
    assert set(dotenv_values(kept)) == {"A", *NAMES}


def test_no_page_overwrites_the_file() -> None:
    """What people are told to type adds to `.env`: it may hold what another page had them add."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert any(">> .env" in page.read_text() for page in pages)
    for page in pages:
        assert not re.search(r"(?<!>)>\s*\.env\b|\b(cp|mv) \S+ \.env\b", page.read_text()), page
