"""A deployment with docker-compose.yml: a copy of the checkout, with its own project and images.

Nothing here touches another project of the same engine: names of containers, networks, volumes and
images begin with `threadwax-test`.
"""

import json
import os
import re
import secrets
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import yaml

from tests.containers.fakes import CONTROL, DISCORD, MARK, MODEL, SLACK, TRACES
from tests.fakes.slack import APP_TOKEN, BOT_TOKEN
from tests.running import ROOT

IMAGE: Final = "threadwax-test:local"
TRACED_IMAGE: Final = "threadwax-test:traces"
FAKES_IMAGE: Final = "threadwax-test:fakes"
OURS: Final = ("setup", "dataflow", "recorder", "gateway", "slack", "discord", "ask", "admin")

LISTENS: Final = (
    f"import socket; socket.create_connection((socket.gethostname(), {CONTROL})).close()"
)
"""The fakes' health check."""

FAKES_DOCKERFILE: Final = f"""\
FROM {TRACED_IMAGE}
COPY manifest.json /checkout/
COPY tests /checkout/tests
ENV PYTHONPATH=/checkout
"""

SETTINGS: Final = f"""\
OPENAI_BASE_URL=http://fakes:{MODEL}/v1
THREADWAX_MODEL=fake
THREADWAX_NATS_PORT=0
THREADWAX_PROMETHEUS_PORT=0
SLACK_API_URL=http://fakes:{SLACK}/api/
SLACK_BOT_TOKEN={BOT_TOKEN}
SLACK_APP_TOKEN={APP_TOKEN}
DISCORD_TOKEN=fake.discord.token
DISCORD_API_URL=http://fakes:{DISCORD}/api/v10
DISCORD_GATEWAY_URL=ws://fakes:{DISCORD}/gateway
"""
POSTGRES: Final = (
    "DATABASE_URL=postgresql://threadwax:${THREADWAX_POSTGRES_PASSWORD}@postgres/threadwax\n"
)
TRACED: Final = f"OTEL_EXPORTER_OTLP_ENDPOINT=http://fakes:{TRACES}\n"


def why_not() -> str | None:
    """Why these tests cannot run here; None if they can."""
    if not os.environ.get("CONTAINERS"):
        return "`make containers` runs it: it needs a Docker engine, and minutes"
    if run("docker", "version", "--format", "{{.Server.Version}}", check=False).returncode:
        return "no Docker engine answers"
    if run("docker", "compose", "version", check=False).returncode:
        return "docker has no `compose`"
    return None


def run(
    *command: str, cwd: Path | None = None, env: dict[str, str] | None = None, check: bool = True,
    seconds: float = 300.0, stdin: str | None = None,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """Runs a command, and raises an error that contains its output if it fails."""
    done = subprocess.run(
        command, cwd=cwd, env=env, check=False, capture_output=True, text=True, timeout=seconds,
        input=stdin,
    )  # fmt: skip
    assert not check or not done.returncode, (
        f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    )
    return done


def build_images(folder: Path) -> None:
    """Builds our image, the one with traces, and the one of the fakes."""
    for tag, arguments in ((IMAGE, ()), (TRACED_IMAGE, ("--build-arg", "TRACES=1"))):
        run("docker", "build", "--quiet", *arguments, "--tag", tag, str(ROOT), seconds=900)
    for name in ("tests/fakes", "tests/containers"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    (folder / "tests" / "__init__.py").touch()
    shutil.copy(ROOT / "manifest.json", folder)
    (folder / "Dockerfile").write_text(FAKES_DOCKERFILE)
    run("docker", "build", "--quiet", "--tag", FAKES_IMAGE, str(folder), seconds=900)


class Site:
    """One deployment. `profiles` are those of COMPOSE_PROFILES."""

    def __init__(
        self, folder: Path, *profiles: str, settings: str = "", image: str = IMAGE
    ) -> None:
        self.folder = folder
        self.project = f"threadwax-test-{secrets.token_hex(3)}"
        shutil.copytree(ROOT / "deploy", folder / "deploy")
        shutil.copy(ROOT / "docker-compose.yml", folder)
        # Containers without capabilities read them as nobody in particular.
        for path in (folder, folder / "deploy", *(folder / "deploy").iterdir()):
            path.chmod(0o755)
        (folder / ".env").write_text(SETTINGS)
        run("sh", "deploy/passwords.sh", cwd=folder)
        with (folder / ".env").open("a") as env:
            env.write(f"COMPOSE_PROFILES={','.join(profiles)}\n{settings}")
        self.use(image)
        self._control = ""
        self.env = os.environ | {
            "COMPOSE_PROJECT_NAME": self.project,
            "COMPOSE_FILE": "docker-compose.yml:tests.yml",
        }

    def override(self, compose: str) -> None:
        """Adds a docker-compose.override.yml, as a reader of the docs would."""
        (self.folder / "docker-compose.override.yml").write_text(compose)
        self.env["COMPOSE_FILE"] = "docker-compose.yml:docker-compose.override.yml:tests.yml"

    def use(self, image: str) -> None:
        """Makes `up` start our parts from this image."""
        services: dict[str, Any] = {name: {"image": image} for name in OURS}
        services["fakes"] = {
            "image": FAKES_IMAGE, "pull_policy": "never", "entrypoint": ["python", "-m"],
            "command": ["tests.containers.fakes"], "ports": [f"127.0.0.1:0:{CONTROL}"],
            "stop_grace_period": "1s", "healthcheck": {"test": ["CMD", "python", "-c", LISTENS],
                                                     "interval": "1s", "retries": 60},
        }  # fmt: skip
        (self.folder / "tests.yml").write_text(yaml.safe_dump({"services": services}))

    def set(self, **settings: str) -> None:
        """Changes lines of `.env`; an empty value removes one."""
        file = self.folder / ".env"
        text = file.read_text()
        for name, value in settings.items():
            text = re.sub(rf"(?m)^{name}=.*\n", "", text)
            text += f"{name}={value}\n" if value else ""
        file.write_text(text)

    def value(self, name: str) -> str:
        """A line of `.env`."""
        return re.findall(rf"(?m)^{name}=(.*)$", (self.folder / ".env").read_text())[-1]

    # --- commands --------------------------------------------------------------------------------

    def compose(
        self, *arguments: str, check: bool = True, seconds: float = 300.0
    ) -> subprocess.CompletedProcess[str]:
        return run(
            "docker", "compose", *arguments, cwd=self.folder, env=self.env, check=check,
            seconds=seconds,
        )  # fmt: skip

    def shell(self, script: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs commands of the docs, with the names of this project's volumes."""
        script = script.replace("threadwax_", f"{self.project}_")
        return run("bash", "-euc", script, cwd=self.folder, env=self.env, check=check)

    def up(self, *arguments: str) -> None:
        self.compose("up", "--detach", "--wait", "--wait-timeout", "180", *arguments)

    def ask(self, question: str, user: str = "ada") -> str:
        """What `ask` of the docs prints."""
        asked = self.compose("run", "--rm", "-T", "ask", "--user", user, f"{MARK} {question}")
        return asked.stdout.strip()

    def ids(self, service: str) -> list[str]:
        found = self.compose("ps", "--all", "--quiet", service).stdout.split()
        assert found, f"{service} has no container"
        return found

    def inspect(self, service: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(
            run("docker", "inspect", *self.ids(service)).stdout
        )
        return found

    def logs(self, service: str) -> str:
        return self.compose("logs", "--no-color", "--no-log-prefix", service).stdout

    def port(self, service: str, port: int) -> str:
        """The published address, HOST:PORT."""
        return self.compose("port", service, str(port)).stdout.strip()

    def kill(self, *ids: str) -> None:
        """Kills the main processes of these containers (`kill -9`), as the kernel would.

        Docker starts them again, unlike after `docker kill`.
        """
        pids = run("docker", "inspect", "--format", "{{.State.Pid}}", *ids).stdout.split()
        run("docker", "run", "--rm", "--privileged", "--pid", "host", "--user", "0", "--entrypoint",
            "sh", IMAGE, "-c", f"kill -KILL {' '.join(pids)}")  # fmt: skip

    def down(self) -> None:
        self.compose("down", "--volumes", "--timeout", "5", "--remove-orphans", check=False)

    # --- the fakes -------------------------------------------------------------------------------

    def call(self, of: str, do: str, **arguments: Any) -> Any:
        """Calls a method of a fake, or reads an attribute."""
        return self._http("/call", {"of": of, "do": do, "with": arguments})

    def set_fake(self, of: str, name: str, value: Any) -> None:
        self._http("/set", {"of": of, "name": name, "value": value})

    def asked(self) -> dict[str, int]:
        """How often the model was asked each question."""
        found: dict[str, int] = self._http("/asked")
        return found

    def spans(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._http("/spans")
        return found

    def _http(self, path: str, body: Any = None) -> Any:
        self._control = self._control or self.port("fakes", CONTROL)
        url = f"http://{self._control}{path}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data)
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            return json.loads(response.read())


def until(done: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Waits until it returns something true, which is returned."""
    deadline = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < deadline, f"not within {seconds} s; last: {found!r}"
        time.sleep(0.2)
    return found


def volumes(site: Site, names: Iterable[str]) -> set[str]:
    """Which of these volumes exist."""
    listed = run("docker", "volume", "ls", "--quiet").stdout.split()
    return {name for name in names if f"{site.project}_{name}" in listed}
