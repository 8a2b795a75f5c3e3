"""The Dockerfile and docker-compose.yml, as far as that goes without a Docker engine.

What runs: the build stage's steps, in an empty folder with this Python; the installed command; the
image's health check against a real process; SIGTERM; the compose file against its specification
and against our own rules. What does not:
pulling and building images, apt-get, the user, the read-only file system and the networks.
"""

import asyncio
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
import yaml
from pydantic_settings import BaseSettings

from bots.discord.settings import DiscordSettings
from bots.slack.settings import SlackSettings
from ops.nats_server import NatsServer
from ops.ports import free_port
from shared.settings import Settings
from tests.running import ROOT

INSTALL_S: Final = 120.0
STOP_S: Final = 20.0
BUILT: Final = "/opt/threadwax"
EXAMPLE: Final = ROOT / "deploy" / "passwords.env.example"


# --- the Dockerfile -------------------------------------------------------------------------------


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


def copied(source: str, target: Path) -> None:
    """Copies what .dockerignore lets through."""
    rules = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert rules[0] == "*"
    assert f"!{source}" in rules, f".dockerignore keeps {source} out"
    if (ROOT / source).is_dir():
        shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(ROOT / source, target)


def test_build_context_holds_no_secrets_and_no_tests() -> None:
    """.dockerignore lets through what the image is made of, and nothing else."""
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    let_through = {rule[1:] for rule in rules if rule.startswith("!")}
    wanted = {
        source for step in stages()[0] if step.word == "COPY" for source in step.rest.split()[:-1]
    }
    assert let_through == wanted
    for name in (".env", ".threadwax", ".git", "tests"):
        assert not any(fnmatch(name, rule) for rule in let_through)


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
    assert re.fullmatch(r"\d{4,}:\d{4,}", final("USER"))
    assert final("VOLUME") == "/data"
    assert "THREADWAX_HOME=/data" in final("ENV")
    assert json.loads(final("ENTRYPOINT")) == ["threadwax"]
    assert stages()[0][0].rest.partition(" ")[0] == stages()[-1][0].rest  # one base for both


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
        done = subprocess.run(check, env=environment, capture_output=True, timeout=10, check=False)
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


# --- the compose file -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def ours(compose: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The services that run our image."""
    for name, service in compose["services"].items():
        if service.get("build"):
            yield name, service


def test_compose_file_is_one_by_the_specification(compose: dict[str, Any]) -> None:
    """It validates against the compose specification's own schema."""
    spec = importlib.util.find_spec("check_jsonschema")
    assert spec is not None, "make setup-dev installs check-jsonschema, which carries it"
    assert spec.origin is not None
    schema = Path(spec.origin).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
    validator = jsonschema.Draft7Validator(json.loads(schema.read_text()))
    assert not [error.message for error in validator.iter_errors(compose)]
    broken = {**compose, "services": {"nats": {"image": 1, "no-such-key": True}}}
    assert list(validator.iter_errors(broken))


def test_every_service_is_confined(compose: dict[str, Any]) -> None:
    """Read-only, without capabilities or new privileges, limited, watched, and stopped in time."""
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service, name
        assert not service.get("privileged"), name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["stop_grace_period"] == "30s", name
        assert service["tmpfs"], name
        limits = service["deploy"]["resources"]["limits"]
        assert limits["memory"], name
        assert float(limits["cpus"]), name
        one_shot = service["restart"] == "no"
        assert one_shot or service["restart"] == "unless-stopped", name
        assert one_shot == bool(service["healthcheck"].get("disable")), name
        assert one_shot or service["healthcheck"]["test"], name


def test_health_check_is_the_images_own(compose: dict[str, Any]) -> None:
    """What the compose file asks is what the Dockerfile asks, which is run above."""
    _, _, words = final("HEALTHCHECK").partition(" CMD ")
    for name, service in ours(compose):
        if "test" in service["healthcheck"]:
            assert service["healthcheck"]["test"] == ["CMD", *json.loads(words)], name


def test_ports_are_published_on_loopback_only(compose: dict[str, Any]) -> None:
    """No port can be reached from another machine."""
    services = compose["services"].values()
    published = [port for service in services for port in service.get("ports", ())]
    assert published
    for port in published:
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)
    assert all("network_mode" not in service for service in services)


def test_services_start_in_order(compose: dict[str, Any]) -> None:
    """NATS is healthy before the set-up, which is done before whoever needs the streams."""
    services = compose["services"]
    assert services["setup"]["depends_on"]["nats"]["condition"] == "service_healthy"
    for name in ("dataflow", "gateway"):
        needs = services[name]["depends_on"]
        assert needs["setup"]["condition"] == "service_completed_successfully"
        assert needs["nats"]["condition"] == "service_healthy"


def test_volumes_are_named(compose: dict[str, Any]) -> None:
    """What must stay is on a named volume; only the server's config is mounted, read-only."""
    used = set()
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source, target, *mode = volume.split(":")
            if source.startswith("./"):
                assert (ROOT / source).is_file()
                assert mode == ["ro"]
            else:
                used.add(source)
                assert target == "/data"
    assert used == set(compose["volumes"])


def test_every_variable_is_in_the_example() -> None:
    """Each variable that the compose file or the server's config takes is documented, and empty."""
    example = dict(
        line.split("=", 1)
        for line in EXAMPLE.read_text().splitlines()
        if line and not line.startswith("#")
    )
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "docker-compose.yml").read_text(), flags=re.MULTILINE)
    assert set(re.findall(r"\$\{(\w+)", text)) == set(example)
    assert "$" not in re.sub(r"\$\{\w+(:-\w*|:\?[\w .]+)\}", "", text)
    in_server = set(
        re.findall(r"\$(THREADWAX_\w+)", (ROOT / "deploy/nats-server.conf").read_text())
    )
    assert in_server == {name for name in example if name.startswith("THREADWAX_NATS_")}
    assert not any(value for name, value in example.items() if "PASSWORD" in name or "KEY" in name)
    # NATS would take an empty password as one, so compose must refuse it.
    for name in in_server:
        assert f"${{{name}:?" in text
        assert f"${{{name}}}" not in text
        assert f"${{{name}:-" not in text


def test_each_container_is_given_its_own_secrets_only(compose: dict[str, Any]) -> None:
    """No container of ours sees another role's password; only the dataflow sees the model's key."""
    for name, service in ours(compose):
        assert "env_file" not in service, name
        text = json.dumps(service["environment"])
        passwords = re.findall(r"\$\{(THREADWAX_NATS_\w+)", text)
        role = {"setup": "ADMIN", "demo": None}.get(name, name.upper())
        assert passwords == ([f"THREADWAX_NATS_{role}_PASSWORD"] if role else []), name
        if role:
            assert service["environment"]["NATS_URL"].startswith(f"nats://{role.lower()}:"), name
        assert ("OPENAI_API_KEY" in text) == (name == "dataflow"), name


def test_settings_of_the_services_exist(compose: dict[str, Any]) -> None:
    """Each variable that a container of ours is given is one that the settings read."""
    classes: tuple[type[BaseSettings], ...] = (Settings, SlackSettings, DiscordSettings)
    known = {field.alias for kind in classes for field in kind.model_fields.values()}
    for name, service in ours(compose):
        assert set(service["environment"]) <= known, name


def test_every_command_exists(built: Path, compose: dict[str, Any], tmp_path: Path) -> None:
    """Each service's command is one of the installed `threadwax`, with options that it has."""
    for name, service in ours(compose):
        command, *options = service["command"]
        done = subprocess.run(
            [str(built / "bin" / "threadwax"), command, "--help"], cwd=tmp_path,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, name
        for option in options:
            assert option in done.stdout, (name, option)
