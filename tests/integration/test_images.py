"""The Dockerfile, as far as that goes without a Docker engine.

These tests run the build stage's steps, in an empty folder with this Python; the installed command;
the image's health check against a real process; and SIGTERM. docs/deploy.md says what was run on an
engine. The compose file has tests of its own.
"""

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

import pytest

from ops.nats_server import NatsServer
from ops.ports import free_port
from tests.running import ROOT

INSTALL_S: Final = 120.0
STOP_S: Final = 20.0
BUILT: Final = "/opt/threadwax"


@dataclass(frozen=True)
class Step:
    """One instruction of a Dockerfile."""

    word: str
    rest: str


def stages() -> list[list[Step]]:
    """The instructions, a list for each stage."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    found: list[list[Step]] = []
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append([])
        found[-1].append(Step(word, " ".join(rest.split())))
    return found


def final(word: str) -> str:
    """What an instruction of the final stage says; it must be there once."""
    (step,) = [step for step in stages()[-1] if step.word == word]
    return step.rest


def uv() -> str:
    """As the Makefile finds it."""
    return shutil.which("uv") or str(Path(sys.executable).parent / "uv")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the final image copies, made by the build stage's own steps."""
    root = tmp_path_factory.mktemp("image")
    here = root / "source"
    here.mkdir()
    environment = {k: v for k, v in os.environ.items() if k not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    for step in stages()[0]:
        if step.word == "COPY":
            *sources, target = step.rest.split()
            for source in sources:
                copied(source, here / target)
        elif step.word == "RUN":
            command = shlex.split(step.rest.replace(BUILT, f"{root}{BUILT}"))
            if command[:4] == ["python", "-m", "pip", "install"]:
                continue  # brings uv, which is here
            command[0] = {"python": sys.executable, "uv": uv()}[command[0]]
            # The cache stands in for the network, and bytecode is the image's own gain.
            kept = [word for word in command if word not in {"--no-cache", "--compile-bytecode"}]
            done = subprocess.run(
                kept, cwd=here, env=environment, capture_output=True, text=True,
                timeout=INSTALL_S, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
        else:
            assert step.word in {"FROM", "WORKDIR"}, f"this test cannot emulate {step.word}"
    return Path(f"{root}{BUILT}")


def ignore_rules() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def in_context(path: str) -> bool:
    """Whether .dockerignore lets a file through: of the rules that match, the last one counts.

    Like Docker for the three shapes that are used here: `*`, `!name`, and `**/pattern`.
    """
    parts = Path(path).parts
    result = True
    for rule in ignore_rules():
        pattern = rule.removeprefix("!")
        if pattern.startswith("**/"):
            matches = any(fnmatch(part, pattern.removeprefix("**/")) for part in parts)
        else:
            assert "/" not in pattern, f"this test cannot emulate {rule}"
            matches = fnmatch(parts[0], pattern)
        if matches:
            result = rule.startswith("!")
    return result


def copied(source: str, target: Path) -> None:
    """Copies a file or folder of the build context."""
    assert in_context(source), f".dockerignore keeps {source} out"

    def left_out(folder: str, names: list[str]) -> set[str]:
        here = Path(folder).relative_to(ROOT)
        return {name for name in names if not in_context(str(here / name))}

    if (ROOT / source).is_dir():
        shutil.copytree(ROOT / source, target, ignore=left_out)
    else:
        shutil.copy(ROOT / source, target)


def test_build_context_holds_no_secrets_and_no_tests() -> None:
    """.dockerignore lets through what the image is made of, and nothing else."""
    let_through = {rule[1:] for rule in ignore_rules() if rule.startswith("!")}
    wanted = {
        source for step in stages()[0] if step.word == "COPY" for source in step.rest.split()[:-1]
    }
    assert let_through == wanted
    assert in_context("ops/cli.py")
    for path in (
        ".env", ".env.local", ".threadwax/slack.sqlite3", ".git/config", "tests/running.py",
        "secrets/SLACK_BOT_TOKEN", "docker-compose.override.yml", "deploy/nats-server.conf",
        "bots/.env", "bots/slack/prod.env", "shared/tls/server.key", "shared/tls/server.pem",
        "dataflow/at_rest.db", "bots/slack/slack.sqlite3", "ops/.ssh/id_ed25519",
        "ops/__pycache__/cli.cpython-312.pyc",
    ):  # fmt: skip
        assert not in_context(path), path


def test_installed_command_works_away_from_the_source(built: Path, tmp_path: Path) -> None:
    """`threadwax --help` runs from an empty folder, and every part can be imported."""
    command = str(built / "bin" / json.loads(final("ENTRYPOINT"))[0])
    done = subprocess.run(
        [command, *json.loads(final("CMD"))], cwd=tmp_path, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "dataflow" in done.stdout
    modules = "import ops.up, ops.embedded_model, dataflow.run, bots.gateway.run, bots.terminal.run"
    where = "import shared; print(shared.__file__)"
    done = subprocess.run(
        [str(built / "bin" / "python"), "-c", f"{modules}; {where}"], cwd=tmp_path,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(built)


def test_image_holds_no_tools(built: Path) -> None:
    """No test runner, linter or installer is in what the final image copies."""
    names = {path.name for path in (built / "bin").iterdir()}
    assert not names & {"pytest", "ruff", "mypy", "pip", "uv", "coverage"}
    assert {"threadwax", "nats-server"} <= names


def test_image_runs_as_nobody_of_note() -> None:
    """Not as root, with its data on a volume, and its process gets the signals itself."""
    user, group = final("USER").split(":")
    assert int(user) >= 1000
    # The names are of /data: its owner and group are the process's own.
    steps = final("RUN")
    assert f"groupadd --system --gid {group} threadwax" in steps
    assert f"useradd --system --uid {user} --gid {group} " in steps
    assert "install --directory --owner=threadwax --group=threadwax --mode=0700 /data" in steps
    assert final("VOLUME") == "/data"
    assert "THREADWAX_HOME=/data" in final("ENV")
    assert json.loads(final("ENTRYPOINT")) == ["threadwax"]
    assert stages()[0][0].rest.partition(" ")[0] == stages()[-1][0].rest  # one base for both


def test_image_says_what_it_is() -> None:
    """Its labels are those of the OCI image spec, and agree with pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = dict(word.split("=", 1) for word in shlex.split(final("LABEL")))
    prefix = "org.opencontainers.image."
    assert labels[f"{prefix}title"] == project["name"]
    assert labels[f"{prefix}description"] == project["description"]
    assert labels[f"{prefix}version"] == project["version"]
    assert labels[f"{prefix}revision"] == "$REVISION"
    assert labels[f"{prefix}base.name"] == f"docker.io/library/{stages()[-1][0].rest}"


def test_native_libraries_are_all_in_the_image(built: Path) -> None:
    """What the wheels need of the system is in the slim image, or installed by the Dockerfile."""
    if sys.platform != "linux" or shutil.which("ldd") is None:
        pytest.skip("the image's libraries are Linux's")
    slim = {
        "libc", "libm", "libpthread", "libdl", "librt", "libutil", "ld-linux-x86-64",
        "ld-linux-aarch64", "linux-vdso", "libstdc++", "libgcc_s", "libz",
    }  # fmt: skip
    installed = {"libgomp"} if "libgomp1" in (ROOT / "Dockerfile").read_text() else set[str]()
    needed: set[str] = set()
    for library in built.rglob("*.so*"):
        listed = subprocess.run(
            ["ldd", str(library)], capture_output=True, text=True, check=False
        ).stdout
        for line in listed.splitlines():
            name, _, where = line.strip().partition(" => ")
            if where and not where.startswith(str(built)):
                needed.add(name.partition(".so")[0])
    assert needed <= slim | installed
    assert installed <= needed  # nothing is installed that nobody needs


async def test_health_check_follows_the_process(
    built: Path, nats: NatsServer, tmp_path: Path
) -> None:
    """It fails before the process is there, succeeds while it lives, and SIGTERM ends that."""
    _, _, words = final("HEALTHCHECK").partition(" CMD ")
    check = [str(built / "bin" / "python"), *json.loads(words)[1:]]
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("OPENAI")},
        "NATS_URL": nats.url,
        "THREADWAX_HOME": str(tmp_path),
        "THREADWAX_HTTP_PORT": str(free_port()),
    }

    def healthy() -> bool:
        done = subprocess.run(
            check, env=environment, cwd=tmp_path, capture_output=True, timeout=10, check=False
        )
        return done.returncode == 0

    assert not await asyncio.to_thread(healthy)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(built / "bin" / "threadwax"), "gateway"], env=environment, cwd=tmp_path,
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        async with asyncio.timeout(STOP_S):
            while not await asyncio.to_thread(healthy):
                assert process.poll() is None, (tmp_path / "log").read_text()
        process.terminate()
        assert await asyncio.to_thread(process.wait, STOP_S) == 0
        assert not await asyncio.to_thread(healthy)
    finally:
        process.kill()


@pytest.mark.parametrize("command", ["dataflow", "gateway"])
def test_first_process_of_a_container_ends_on_sigterm(
    built: Path, nats: NatsServer, tmp_path: Path, command: str
) -> None:
    """As process 1, to which the kernel gives no default handling, it ends in good order."""
    unshare = shutil.which("unshare")
    able = (
        unshare
        and not subprocess.run(
            [unshare, "--pid", "--fork", "true"], capture_output=True, check=False
        ).returncode
    )
    if not able:
        pytest.skip("no process namespace can be made here")
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("OPENAI")},
        "NATS_URL": nats.url,
        "THREADWAX_HOME": str(tmp_path),
        "THREADWAX_HTTP_PORT": str(free_port()),
    }
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(unshare), "--pid", "--fork", "--kill-child",
             str(built / "bin" / "threadwax"), command],
            env=environment, cwd=tmp_path, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + STOP_S
        while "ready" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), 15)
        assert process.wait(STOP_S) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
