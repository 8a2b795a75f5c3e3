"""The Dockerfile, as far as it can be tested without a Docker engine.

These tests run the steps of the build stage in an empty folder with this Python, then the installed
command, the health check with a real process, and SIGTERM. docs/deploy.md lists what was run with a
Docker engine. test_compose.py tests the compose file.
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
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

import pytest

from ops.demo_weights import NO_WEIGHTS
from ops.nats_server import NatsServer
from ops.ports import free_port
from ops.web import NOT_INSTALLED
from shared.lifecycle import CANNOT_START
from tests.running import ROOT

INSTALL_S: Final = 120.0
STOP_S: Final = 20.0
BUILT: Final = "/opt/threadwax"
CODE_LIMIT_BYTES: Final = 16_000_000
"""Our code with the demo model's adapter and bytecode has 10 MB."""

CYCLONEDX: Final = Path(sys.executable).parent / "cyclonedx-py"
PAGE_SETTINGS: Final = "bots/web/.streamlit/config.toml"


@dataclass(frozen=True)
class Step:
    """One instruction of a Dockerfile."""

    name: str
    arguments: str


def stages() -> list[list[Step]]:
    """The instructions, one list per stage."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    found: list[list[Step]] = []
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        name, _, arguments = line.partition(" ")
        if name == "FROM":
            found.append([])
        found[-1].append(Step(name, " ".join(arguments.split())))
    return found


def final(name: str) -> str:
    """The arguments of an instruction that the final stage contains once."""
    (step,) = [step for step in stages()[-1] if step.name == name]
    return step.arguments


def uv() -> str:
    """The path of uv, found as in the Makefile."""
    return shutil.which("uv") or str(Path(sys.executable).parent / "uv")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the final stage contains."""
    return build(tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def built_with_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, built with the arguments that add the web page's libraries and the demo model."""
    return build(tmp_path_factory.mktemp("image-all"), WEB="1", DEMO="1")


def build(root: Path, **arguments: str) -> Path:
    """Runs the steps of the stages that the final one copies from; returns the copied folder."""
    here = root / "source"
    here.mkdir()
    declared = set()
    for stage in stages()[:-1]:
        if stage[0].arguments.endswith(" AS bill-of-materials") and not CYCLONEDX.is_file():
            continue  # its tools are installed with the development tools
        for step in stage:
            if step.name == "COPY":
                *sources, target = step.arguments.split()
                for source in sources:
                    copied(source, here / target)
            elif step.name == "ARG":
                declared.add(step.arguments)
            elif step.name == "RUN":
                run(step.arguments, root, arguments)
            else:
                assert step.name in {"FROM", "WORKDIR"}, f"this test cannot emulate {step.name}"
    assert declared >= set(arguments)
    for _, source, target in copied_stages():
        if source == target:
            continue
        if Path(f"{root}{source}").is_dir():
            shutil.copytree(f"{root}{source}", f"{root}{target}", symlinks=True, dirs_exist_ok=True)
    return Path(f"{root}{BUILT}")


def copied_stages() -> list[tuple[str, str, str]]:
    """What the final stage copies: the stage, the folder there, and the folder here."""
    found = []
    for step in stages()[-1]:
        if step.name == "COPY":
            stage, source, target = step.arguments.split()
            found.append((stage.removeprefix("--from="), source, target))
    return found


def run(line: str, root: Path, arguments: dict[str, str]) -> None:
    """Runs one step in the shell, with folders below `root` and this machine's Python and uv."""
    if "pip install" in line and line.startswith("python "):
        return  # installs uv, which we have
    if "/opt/cyclonedx/bin/python" in line or line.endswith(" /opt/cyclonedx"):
        return  # installs the SBOM's tool, which we have
    line = line.replace("/opt/cyclonedx/bin/cyclonedx-py", str(CYCLONEDX)).replace(
        "/opt/", f"{root}/opt/"
    )
    # The cache saves downloads, and only the image needs bytecode.
    line = line.replace(" --no-cache", "").replace(" --compile-bytecode", "")
    tools = root / "tools"
    tools.mkdir(exist_ok=True)
    for name, path in {"python": sys.executable, "uv": uv()}.items():
        with suppress(FileExistsError):
            (tools / name).write_text(f'#!/bin/sh\nexec "{path}" "$@"\n')
            (tools / name).chmod(0o755)
    environment = {k: v for k, v in os.environ.items() if k not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    environment |= {"PATH": f"{tools}:{os.environ['PATH']}"} | arguments
    done = subprocess.run(
        ["sh", "-eu", "-c", 'WEB="${WEB:-}" DEMO="${DEMO:-}"\n' + line], cwd=root / "source",
        env=environment, capture_output=True, text=True, timeout=INSTALL_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def ignore_rules() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def in_context(path: str) -> bool:
    """Whether the build context contains a file: the last matching rule of .dockerignore decides.

    Supports the kinds of rules that the file uses: `*`, `!name`, `!path/to/a/file`, `**/pattern`.
    """
    parts = Path(path).parts
    result = True
    for rule in ignore_rules():
        pattern = rule.removeprefix("!")
        if pattern.startswith("**/"):
            matches = any(fnmatch(part, pattern.removeprefix("**/")) for part in parts)
        elif "/" in pattern:
            assert (ROOT / pattern).is_file(), f"this test cannot emulate {rule}"
            matches = path == pattern
        else:
            matches = fnmatch(parts[0], pattern)
        if matches:
            result = rule.startswith("!")
    return result


def copied(source: str, target: Path) -> None:
    """Copies a file or folder of the build context."""
    assert in_context(source), f".dockerignore keeps {source} out"

    def left_out(folder: str, names: list[str]) -> set[str]:
        here = Path(folder).relative_to(ROOT)
        return {name for name in names if not reaches(str(here / name))}

    def reaches(path: str) -> bool:
        return in_context(path) or any(rule.startswith(f"!{path}/") for rule in ignore_rules())

    if (ROOT / source).is_dir():
        shutil.copytree(ROOT / source, target, ignore=left_out)
    else:
        shutil.copy(ROOT / source, target)


def test_the_build_context_has_no_secrets_and_no_tests() -> None:
    """.dockerignore lets through the files that the Dockerfile copies, and nothing else."""
    rules = {rule[1:] for rule in ignore_rules() if rule.startswith("!")}
    let_through = rules - {PAGE_SETTINGS}
    assert let_through < rules
    copied_files = {
        source
        for stage in stages()[:-1]
        for step in stage
        if step.name == "COPY"
        for source in step.arguments.split()[:-1]
    }
    assert let_through == copied_files
    assert in_context("ops/cli.py")
    assert in_context(PAGE_SETTINGS)
    for path in (
        ".env", ".env.local", ".threadwax/slack.sqlite3", ".git/config", "tests/running.py",
        "secrets/SLACK_BOT_TOKEN", "docker-compose.override.yml", "deploy/nats-server.conf",
        "bots/.env", "bots/slack/prod.env", "shared/tls/server.key", "shared/tls/server.pem",
        "dataflow/conversations.db", "bots/slack/slack.sqlite3", "ops/.ssh/id_ed25519",
        "ops/__pycache__/cli.cpython-312.pyc", "bots/web/.streamlit/secrets.toml",
    ):  # fmt: skip
        assert not in_context(path), path


def test_the_installed_command_works_without_the_source(built: Path, tmp_path: Path) -> None:
    """`threadwax --help` runs from an empty folder, and every part can be imported."""
    command = str(built / "bin" / json.loads(final("ENTRYPOINT"))[0])
    done = subprocess.run(
        [command, *json.loads(final("CMD"))], cwd=tmp_path, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "dataflow" in done.stdout
    modules = "import ops.up, dataflow.run, dataflow.recorder.run, bots.gateway.run, bots.slack.run"
    where = "import shared; print(shared.__file__)"
    done = subprocess.run(
        [str(built / "bin" / "python"), "-c", f"{modules}; {where}"], cwd=tmp_path,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(built)


def test_the_page_is_in_the_image_that_is_built_for_it(
    built: Path, built_with_all: Path, tmp_path: Path
) -> None:
    """With its libraries and Streamlit's settings; the other image says what is missing."""
    code = (
        "import bots.web.run, bots.web.views, pathlib, streamlit as st\n"
        "print(pathlib.Path(bots.web.__file__).parent)"
    )
    done = subprocess.run(
        [str(built_with_all / "bin" / "python"), "-c", code], cwd=tmp_path,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = Path(done.stdout.strip())
    assert page.is_relative_to(built_with_all)
    names = ("page.py", "logo.svg", ".streamlit/config.toml")
    assert [name for name in names if not (page / name).is_file()] == []
    done = subprocess.run(
        [str(built / "bin" / "threadwax"), "web"], cwd=tmp_path, capture_output=True, text=True,
        timeout=60, check=False, env={"PATH": "", "THREADWAX_HOME": str(tmp_path / "home")},
    )  # fmt: skip
    assert done.returncode == CANNOT_START
    assert done.stderr.strip().splitlines()[-1] == NOT_INSTALLED


def test_the_demo_model_is_in_the_image_that_is_built_for_it(
    built: Path, built_with_all: Path, tmp_path: Path
) -> None:
    """With its library and its weights; the other image has neither, and says so."""

    def threadwax_model(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(folder / "bin" / "python"), "-c", code], cwd=tmp_path, capture_output=True,
            text=True, timeout=60, check=False,
            env={"PATH": "", "THREADWAX_HOME": str(tmp_path / "home")},
        )  # fmt: skip

    found = threadwax_model(
        built_with_all, "import ops.embedded_model, ops.demo_weights as d; print(d.weights_path())"
    )
    assert found.returncode == 0, found.stderr
    assert Path(found.stdout.strip()).is_relative_to(built_with_all)
    assert not list(built.rglob("*xllamacpp*")) + list(built.rglob("*smollm2*.gguf"))
    refused = threadwax_model(
        built, "import ops.__main__, sys; sys.argv[1:] = ['model']; ops.__main__.main()"
    )
    assert refused.returncode == CANNOT_START
    assert refused.stderr.strip().splitlines()[-1] == NO_WEIGHTS


@pytest.mark.parametrize("web", ["", "1"])
def test_the_image_for_traces_has_each_package_once(tmp_path: Path, web: str) -> None:
    """Its lock file and that of the page both include the first one."""
    (line,) = [
        step.arguments for stage in stages() for step in stage
        if step.name == "RUN" and step.arguments.endswith("> installed.lock")
    ]  # fmt: skip
    here = tmp_path / "source"
    here.mkdir()
    for file in ROOT.glob("requirements*.lock"):
        shutil.copy(file, here)
    run(line, tmp_path, {"TRACES": "1", "WEB": web})
    text = (here / "installed.lock").read_text()
    pins = re.findall(r"(?m)^([\w.-]+)==(\S+)", text)
    assert len(pins) == len(set(pins))
    found = {name for name, _ in pins}
    wanted = {"opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http", "nats-py"}
    assert wanted | ({"streamlit"} if web else set()) <= found
    assert "xllamacpp" not in found
    assert all("--hash=sha256:" in one for one in re.split(r"(?m)^(?=[\w.-]+==)", text)[1:])


def test_our_code_is_the_last_layer(built: Path) -> None:
    """Dependencies, bill of materials, code: a change of the code replaces one layer only."""
    final_stage = stages()[-1]
    layers = [step.name for step in final_stage if step.name in {"RUN", "COPY", "WORKDIR"}]
    assert layers[-3:] == ["COPY", "COPY", "COPY"]
    names = {stage[0].arguments.partition(" AS ")[2]: stage for stage in stages()[:-1]}
    assert [stage for stage, _, _ in copied_stages()] == [
        "dependencies",
        "bill-of-materials",
        "code",
    ]
    ours = {"README.md", "shared", "bots", "dataflow", "ops"}
    for name in ("installer", "dependencies", "bill-of-materials"):
        sources = {
            word for step in names[name] if step.name == "COPY" for word in step.arguments.split()
        }
        assert not sources & ours, f"a change of our code would build {name} again"
    code = built.parent / "code"
    sizes = sum(path.stat().st_size for path in code.rglob("*") if path.is_file())
    assert 0 < sizes < CODE_LIMIT_BYTES
    others = {path.name for path in code.rglob("site-packages/*")}
    assert {name for name in others if not name.startswith("threadwax-")} == ours - {"README.md"}


def test_the_image_contains_no_tools(built: Path) -> None:
    """The final stage copies no test runner, linter or installer."""
    names = {path.name for path in (built / "bin").iterdir()}
    assert not names & {"pytest", "ruff", "mypy", "pip", "uv", "coverage"}
    assert {"threadwax", "nats-server"} <= names


def test_the_image_runs_without_privileges() -> None:
    """The process is not root, keeps its data on a volume, and gets signals directly."""
    user, group = final("USER").split(":")
    assert int(user) >= 1000
    # /data belongs to the user and group of the process.
    steps = " ".join(step.arguments for step in stages()[-1] if step.name == "RUN")
    assert f"groupadd --system --gid {group} threadwax" in steps
    assert f"useradd --system --uid {user} --gid {group} " in steps
    assert "install --directory --owner=threadwax --group=threadwax --mode=0700 /data" in steps
    assert final("VOLUME") == "/data"
    assert "THREADWAX_HOME=/data" in final("ENV")
    assert json.loads(final("ENTRYPOINT")) == ["threadwax"]
    # All stages have the same base, so that what is built runs.
    bases = {stage[0].arguments.partition(" AS ")[0] for stage in stages()}
    names = {stage[0].arguments.partition(" AS ")[2] for stage in stages()}
    assert bases - names == {stages()[-1][0].arguments}


def test_the_labels_describe_the_image() -> None:
    """The labels follow the OCI image spec and agree with pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = dict(word.split("=", 1) for word in shlex.split(final("LABEL")))
    prefix = "org.opencontainers.image."
    assert labels[f"{prefix}title"] == project["name"]
    assert labels[f"{prefix}description"] == project["description"]
    assert labels[f"{prefix}licenses"] == project["license"]
    assert labels[f"{prefix}version"] == project["version"]
    assert labels[f"{prefix}revision"] == "$REVISION"
    # Both differ with each build or publisher, who adds them with --label.
    assert not {f"{prefix}created", f"{prefix}source"} & set(labels)
    assert labels[f"{prefix}base.name"] == f"docker.io/library/{stages()[-1][0].arguments}"


def test_the_image_has_all_native_libraries(built_with_all: Path) -> None:
    """System libraries that the wheels need are in the base image or installed by us."""
    if sys.platform != "linux" or shutil.which("ldd") is None:
        pytest.skip("ldd and Linux are needed")
    slim = {
        "libc", "libm", "libpthread", "libdl", "libresolv", "librt", "libutil",
        "ld-linux-x86-64", "ld-linux-aarch64", "linux-vdso", "libstdc++", "libgcc_s", "libz",
    }  # fmt: skip
    installed = {"libgomp"} if "libgomp1" in (ROOT / "Dockerfile").read_text() else set[str]()
    needed: set[str] = set()
    for library in built_with_all.rglob("*.so*"):
        listed = subprocess.run(
            ["ldd", str(library)], capture_output=True, text=True, check=False
        ).stdout
        for line in listed.splitlines():
            name, _, where = line.strip().partition(" => ")
            if where and not where.startswith(str(built_with_all)):
                needed.add(name.partition(".so")[0])
    assert needed <= slim | installed
    assert installed <= needed  # no installed library is unused


async def test_the_health_check_follows_the_process(
    built: Path, nats: NatsServer, tmp_path: Path
) -> None:
    """The check fails at first, succeeds while the process runs, and fails after SIGTERM."""
    _, _, health_check = final("HEALTHCHECK").partition(" CMD ")
    check = [str(built / "bin" / "python"), *json.loads(health_check)[1:]]
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
def test_the_first_process_of_a_container_ends_on_sigterm(
    built: Path, nats: NatsServer, tmp_path: Path, command: str
) -> None:
    """The kernel ignores signals that process 1 does not handle, so our process handles them."""
    unshare = shutil.which("unshare")
    able = (
        unshare
        and not subprocess.run(
            [unshare, "--pid", "--fork", "true"], capture_output=True, check=False
        ).returncode
    )
    if not able:
        pytest.skip("process namespaces cannot be created here")
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
