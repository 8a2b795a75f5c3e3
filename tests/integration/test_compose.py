"""docker-compose.yml and deploy/compose.secrets.yml follow their specification and our own rules.

These tests start no container: docs/deploy.md lists what was run with a Docker engine.
"""

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
import yaml
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from bots.discord.settings import DiscordSettings
from bots.slack.settings import SlackSettings
from bots.web.settings import USUAL_PORTS, WebSettings
from dataflow.run import DRAIN_S
from dataflow.shutdown import END_S
from ops.supervise import STOP_DEADLINE_S
from ops.up_parts import DATAFLOW_STOP_S, PARTS
from shared.setting_kinds import new_names
from shared.settings import Settings
from shared.traces.settings import TraceSettings
from tests.running import ROOT

SECRETS: Final = ROOT / "deploy" / "compose.secrets.yml"

SET_BY_COMPOSE: Final = {"NATS_URL"}
"""The compose file builds it from a role's password."""

SET_BY_THE_IMAGE: Final = {"THREADWAX_HOME", "THREADWAX_HTTP_PORT"}
"""Set by the image; a value from `.env` would be a folder or a port of the host."""

STATUS: Final = {"THREADWAX_HTTP_HOST": "0.0.0.0"}  # noqa: S104
"""Prometheus reads the status from its own container."""

EVERYWHERE: Final = {"THREADWAX_LOG_LEVEL"}

RETENTION: Final = {"THREADWAX_KEEP_DAYS"}
"""What keeps messages: streams, conversations and the database."""

OF_THE_SETUP: Final = {"THREADWAX_NATS_REPLICAS", "THREADWAX_PARTITIONS"}
"""Only the setup changes streams."""

OF_ADAPTERS: Final = {"THREADWAX_BUDGETS"}
"""They report the roles that have a budget."""

FIXED: Final = {
    "dataflow": STATUS,
    "admin": STATUS,
    "recorder": STATUS,
    "gateway": STATUS,
    "slack": STATUS | {"SLACK_HTTP_HOST": "0.0.0.0", "SLACK_HTTP_PORT": "3000"},  # noqa: S104
    "discord": STATUS,
    "web": STATUS | {"THREADWAX_WEB_HOST": "0.0.0.0", "THREADWAX_WEB_PORT": str(USUAL_PORTS[0])},  # noqa: S104
}
"""Where the containers listen. Their ports cannot be reached from other machines (see below)."""

NOT_FOR_A_CONTAINER: Final = {
    "SLACK_CONFIG_TOKEN", "THREADWAX_CHAT_HISTORY", "THREADWAX_RECORDER", "THREADWAX_WEB",
}  # fmt: skip
"""Only the doctor needs the token (docs/deploy.md says how to pass it), and nobody chats in a
container's terminal. The recorder and the web page are containers, which are started or not."""

OF_THE_RECORDER: Final = {
    "DATABASE_URL", "THREADWAX_BUDGETS", "THREADWAX_PRICES", "THREADWAX_TRAINING_ATTESTED",
}  # fmt: skip
"""`docker compose run recorder` also exports."""

RECORDED: Final = "sqlite:////recorder/recorder/threadwax.sqlite"
"""The recorder's database in the container `admin`, which has it in a volume of its own."""

COMPOSE_VARIABLES: Final = {
    "THREADWAX_NATS_PORT", "SLACK_HTTP_PORT", "THREADWAX_WEB_PORT", "THREADWAX_PROMETHEUS_PORT",
    "DATABASE_URL", "OTEL_EXPORTER_OTLP_ENDPOINT",
}  # fmt: skip
"""Variables of the compose file itself: ports on the host, which database
`admin` uses, and whether the image can send traces."""


REMOVED: Final = "!reset"
"""What `!reset null` leaves."""

ALL: Final = (Settings, SlackSettings, DiscordSettings, WebSettings, TraceSettings)


def aliases(kind: type[BaseSettings]) -> set[str]:
    return {str(field.alias) for field in kind.model_fields.values()}


OF_PARTS: Final = EVERYWHERE | aliases(TraceSettings)
"""The parts that handle questions: each sends its own traces."""

EXPECTED: Final = {
    "setup": EVERYWHERE | RETENTION | OF_THE_SETUP,
    "gateway": OF_PARTS,
    "ask": EVERYWHERE,
    "demo": EVERYWHERE,
    "dataflow": (aliases(Settings) | set(new_names(Settings)))
    - SET_BY_COMPOSE
    - SET_BY_THE_IMAGE
    - set(STATUS)
    - NOT_FOR_A_CONTAINER
    - OF_THE_RECORDER
    - OF_THE_SETUP
    | {"THREADWAX_BUDGETS", "THREADWAX_PRICES", "DATABASE_URL"}  # also the recorder reads them
    | OF_PARTS,
    "recorder": OF_PARTS | RETENTION | OF_THE_RECORDER,
    "slack": OF_PARTS
    | OF_ADAPTERS
    | aliases(SlackSettings) - NOT_FOR_A_CONTAINER - set(FIXED["slack"]),
    "discord": OF_PARTS | OF_ADAPTERS | aliases(DiscordSettings) | set(new_names(DiscordSettings)),
    "web": OF_PARTS | OF_ADAPTERS | aliases(WebSettings) - set(FIXED["web"]),
}
"""The settings that each container gets from `.env`. A new setting of `Settings` belongs to the
dataflow, unless a set above names it."""

EXPECTED["admin"] = EXPECTED["dataflow"] - {"DATABASE_URL"} | OF_THE_SETUP
"""`doctor` checks what they run with. The database has a default of its own."""


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def our_services(compose: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The services that run our image."""
    for name, service in compose["services"].items():
        if service["image"].startswith("threadwax:"):
            yield name, service


def runs_once(service: dict[str, Any]) -> bool:
    return bool(service["restart"] == "no")


@pytest.mark.parametrize("file", [ROOT / "docker-compose.yml", SECRETS], ids=lambda file: file.name)
def test_each_file_follows_the_compose_specification(file: Path) -> None:
    """Each file is validated with the schema of the specification."""
    spec = importlib.util.find_spec("check_jsonschema")
    assert spec is not None, "run make setup-dev: check-jsonschema contains the schema"
    assert spec.origin is not None
    schema = Path(spec.origin).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
    validator = jsonschema.Draft7Validator(json.loads(schema.read_text()))
    compose = yaml.load(file.read_text(), Overrides)  # noqa: S506  (a safe loader)
    assert not [error.message for error in validator.iter_errors(compose)]
    broken = {**compose, "services": {"nats": {"image": 1, "no-such-key": True}}}
    assert list(validator.iter_errors(broken))


def test_every_service_is_confined(compose: dict[str, Any]) -> None:
    """Read-only, without capabilities or new privileges, with a health check and rotated logs."""
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service, name
        assert not service.get("privileged"), name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert "network_mode" not in service, name
        assert service["tmpfs"], name
        assert service["logging"] == {"driver": "local"}, name  # rotates its files
        assert runs_once(service) or service["restart"] == "unless-stopped", name
        assert runs_once(service) == bool(service["healthcheck"].get("disable")), name
        assert runs_once(service) or service["healthcheck"]["test"], name


def test_limits_work_on_any_machine(compose: dict[str, Any]) -> None:
    """Memory and processes are limited. CPUs are not: Docker refuses a limit above their number.

    The reserved memory of all services that start by default fits a small machine.
    """
    reserved = 0
    for name, service in compose["services"].items():
        resources = service["deploy"]["resources"]
        assert set(resources["limits"]) == {"memory", "pids"}, name
        assert not {"cpus", "cpu_count", "cpuset"} & set(service), name
        memory = resources.get("reservations", {}).get("memory", "0m")
        assert set(resources.get("reservations", {})) <= {"memory"}, name
        if not service.get("profiles"):
            reserved += int(memory.removesuffix("m"))
    assert reserved <= 1024


def test_every_container_has_enough_time_to_stop(compose: dict[str, Any]) -> None:
    """Docker kills a container after its grace period, so that is longer than our own deadlines."""
    grace_s = {
        name: float(service["stop_grace_period"].removesuffix("s"))
        for name, service in compose["services"].items()
    }
    assert grace_s["dataflow"] > DRAIN_S + END_S
    assert all(grace >= STOP_DEADLINE_S for grace in grace_s.values())
    # `up` stops its parts one after the other.
    demo = [part.stop_s for part in PARTS if part.name not in {"slack", "discord", "web"}]
    assert DATAFLOW_STOP_S in demo
    assert grace_s["demo"] > sum(demo)


def test_health_checks_ask_for_readiness(compose: dict[str, Any]) -> None:
    """Health checks ask /readyz, so `up --wait` succeeds once NATS and the platform answer.

    The image's own check asks /healthz, for orchestrators that kill unhealthy containers.
    """
    check = re.search(r"HEALTHCHECK .*?CMD (\[.*?\])", (ROOT / "Dockerfile").read_text(), re.DOTALL)
    assert check is not None
    *probe, path = json.loads(check[1])
    assert path == "/healthz"
    for name, service in our_services(compose):
        if not runs_once(service):
            assert service["healthcheck"]["test"] == ["CMD", *probe, "/readyz"], name


def test_the_image_is_built_once(compose: dict[str, Any]) -> None:
    """One service per profile builds it, and no service pulls it from a registry."""
    builders: dict[str, list[str]] = {}
    for name, service in our_services(compose):
        assert service["pull_policy"] == "never", name
        if "build" in service:
            for profile in service.get("profiles", ["(none)"]):
                builders.setdefault(profile, []).append(name)
    assert builders == {"(none)": ["setup"], "demo": ["demo"], "web": ["web"]}
    for name, service in our_services(compose):
        if "build" not in service and not runs_once(service):
            assert "setup" in service["depends_on"], name


def test_the_page_and_the_demo_have_images_of_their_own(compose: dict[str, Any]) -> None:
    """They have the same Dockerfile, with the libraries of the page, or with the demo model."""
    images = {name: service["image"] for name, service in our_services(compose)}
    own = {name: image for name, image in images.items() if image != "threadwax:local"}
    assert own == {"web": "threadwax:local-web", "demo": "threadwax:local-demo"}
    traces = {"TRACES": "${OTEL_EXPORTER_OTLP_ENDPOINT:+1}"}  # only if they are sent somewhere
    arguments = {name: compose["services"][name]["build"]["args"] for name in ("setup", *own)}
    assert arguments == {"setup": traces, "web": {"WEB": "1"} | traces, "demo": {"DEMO": "1"}}
    assert {compose["services"][name]["build"]["context"] for name in arguments} == {"."}


def test_the_database_starts_before_the_recorder_if_it_starts(compose: dict[str, Any]) -> None:
    """It is a profile: without it, DATABASE_URL names another one, or none."""
    needs = compose["services"]["recorder"]["depends_on"]["postgres"]
    assert needs == {"condition": "service_healthy", "required": False}
    postgres = compose["services"]["postgres"]
    assert postgres["profiles"] == ["postgres"]
    assert postgres["user"].split(":")[0] != "0"
    assert "ports" not in postgres
    text = (ROOT / "docker-compose.yml").read_text()
    (url,) = re.findall(r"(?m)^  #   DATABASE_URL=(\S+)$", text)
    user, database = (postgres["environment"][name] for name in ("POSTGRES_USER", "POSTGRES_DB"))
    assert url == f"postgresql://{user}:${{THREADWAX_POSTGRES_PASSWORD}}@postgres/{database}"
    assert url in (ROOT / "docs" / "deploy.md").read_text()


def test_prometheus_reads_every_part(compose: dict[str, Any]) -> None:
    """Each part that serves metrics is a target, at the port that the image sets."""
    (port,) = re.findall(r"THREADWAX_HTTP_PORT=(\d+)", (ROOT / "Dockerfile").read_text())
    running = {name for name, service in our_services(compose) if not runs_once(service)} - {"demo"}
    always = {name for name in running if not compose["services"][name].get("profiles")}
    scraped = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())["scrape_configs"]
    looked_up, named = scraped
    (found,) = looked_up["dns_sd_configs"]
    assert set(found["names"]) == running
    assert found["port"] == int(port)
    (fixed,) = named["static_configs"]
    assert set(fixed["targets"]) == {f"{name}:{port}" for name in always}
    prometheus = compose["services"]["prometheus"]
    assert prometheus["profiles"] == ["metrics"]
    # Alert rules, if there are any, are where deploy/prometheus.yml looks for them.
    rules = "./deploy/prometheus-rules.yml"
    mount = f"{rules}:/etc/prometheus/rules/threadwax.yml:ro"
    assert (mount in prometheus["volumes"]) == (ROOT / rules).exists(), f"mount {mount}"


def test_the_page_does_not_start_without_signing_in(
    compose: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other machines may reach it, so the container refuses to run without OpenID Connect."""
    monkeypatch.chdir(tmp_path)
    fixed = {k: v for k, v in compose["services"]["web"]["environment"].items() if v}
    del fixed["NATS_URL"]
    with pytest.raises(ValidationError, match="THREADWAX_WEB_OIDC_URL"):
        WebSettings.model_validate(fixed)
    signing_in = {
        "THREADWAX_WEB_URL": "https://chat.example.org",
        "THREADWAX_WEB_OIDC_URL": "https://login.example.org/.well-known/openid-configuration",
        "THREADWAX_WEB_OIDC_CLIENT_ID": "threadwax",
        "THREADWAX_WEB_OIDC_CLIENT_SECRET": "secret",
    }
    assert WebSettings.model_validate(fixed | signing_in).ports == (8501,)


def test_ports_are_published_on_loopback_only(compose: dict[str, Any]) -> None:
    """No port can be reached from another machine, and each can be changed in `.env`."""
    published = {
        name: service["ports"]
        for name, service in compose["services"].items()
        if service.get("ports")
    }
    assert published == {
        "nats": ["127.0.0.1:${THREADWAX_NATS_PORT:-4222}:4222"],
        "slack": ["127.0.0.1:${SLACK_HTTP_PORT:-}:3000"],
        "web": ["127.0.0.1:${THREADWAX_WEB_PORT:-8501}:8501"],
        "prometheus": ["127.0.0.1:${THREADWAX_PROMETHEUS_PORT:-9090}:9090"],
    }


def test_the_host_has_a_name(compose: dict[str, Any]) -> None:
    """A model server on the host can be reached, on Linux, too."""
    for name, service in our_services(compose):
        assert service["extra_hosts"] == ["host.docker.internal:host-gateway"], name


def test_services_start_in_order(compose: dict[str, Any]) -> None:
    """NATS is healthy before the set-up starts, and the set-up ends before others need streams."""
    services = compose["services"]
    assert services["setup"]["depends_on"]["nats"]["condition"] == "service_healthy"
    for name in ("dataflow", "recorder", "gateway", "slack", "discord", "web"):
        needs = services[name]["depends_on"]
        assert needs["setup"]["condition"] == "service_completed_successfully", name
        assert needs["nats"]["condition"] == "service_healthy", name


def test_volumes_are_named(compose: dict[str, Any]) -> None:
    """Data is on named volumes; the only mounted files are configurations, and read-only."""
    folders = {"postgres": "/var/lib/postgresql/data", "prometheus": "/prometheus"}
    used = set()
    for name, service in compose["services"].items():
        for volume in service.get("volumes", ()):
            source, target, *mode = volume.split(":")
            if source.startswith("./"):
                assert (ROOT / source).is_file()
                assert mode == ["ro"]
            else:
                used.add(source)
                others = name == "admin" and source == "recorder-data"
                assert target == ("/recorder" if others else folders.get(name, "/data"))
    assert used == set(compose["volumes"])
    # Docker makes a folder that the image does not have, and its volume, as root's.
    (made,) = re.findall(
        r"install --directory .*--mode=0700 (.+)", (ROOT / "Dockerfile").read_text()
    )
    mounted = {
        volume.split(":")[1]
        for _, service in our_services(compose)
        for volume in service.get("volumes", ())
    }
    assert mounted == set(made.split())
    for name, service in our_services(compose):
        in_memory = any(mount.startswith("/data:") for mount in service["tmpfs"])
        assert in_memory != bool(service.get("volumes")), f"{name} creates an unnamed volume"


@pytest.mark.parametrize("name", EXPECTED)
def test_every_setting_reaches_its_container(name: str, compose: dict[str, Any]) -> None:
    """Each container gets the settings from `.env` that it reads, and no others."""
    environment = compose["services"][name]["environment"]
    passed = {variable for variable, value in environment.items() if value is None}
    assert passed == EXPECTED[name], "list it in docker-compose.yml, or in one of the sets above"
    fixed = {n: v for n, v in environment.items() if v is not None} | {"NATS_URL": ""}
    if name == "admin":
        assert fixed.pop("DATABASE_URL") == f"${{DATABASE_URL:-{RECORDED}}}"
    assert fixed == {"NATS_URL": ""} | FIXED.get(name, {})


def test_every_service_and_every_setting_is_listed(compose: dict[str, Any]) -> None:
    """A new service must be listed with its settings, and each setting must have a place."""
    assert {name for name, _ in our_services(compose)} == set(EXPECTED)
    everything = set[str]().union(*map(aliases, ALL))
    somewhere = set[str]().union(*EXPECTED.values(), *FIXED.values())
    assert everything - somewhere == SET_BY_COMPOSE | SET_BY_THE_IMAGE | NOT_FOR_A_CONTAINER


def test_each_container_gets_its_own_password_only(compose: dict[str, Any]) -> None:
    """No container gets the password of another role."""
    for name, service in our_services(compose):
        assert "env_file" not in service, name
        passwords = re.findall(r"\$\{(THREADWAX_NATS_\w+)", json.dumps(service))
        role = {"setup": "ADMIN", "admin": "ADMIN", "demo": None}.get(name, name.upper())
        assert passwords == ([f"THREADWAX_NATS_{role}_PASSWORD"] if role else []), name
        if role:
            url = service["environment"]["NATS_URL"]
            assert url.startswith(f"nats://{role.lower()}:"), name
            assert url.endswith("@nats:4222"), name


def test_a_missing_or_empty_password_is_refused() -> None:
    """NATS accepts an empty password, so Compose refuses it and says what to do."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "docker-compose.yml").read_text(), flags=re.MULTILINE)
    server = (ROOT / "deploy" / "nats-server.conf").read_text()
    passwords = set(re.findall(r"\$(THREADWAX_NATS_\w+)", server)) | {"THREADWAX_POSTGRES_PASSWORD"}
    assert set(re.findall(r"\$\{(\w+)", text)) == passwords | COMPOSE_VARIABLES
    for name in passwords:
        uses = re.findall(rf"\$\{{{name}([^}}]*)\}}", text)
        assert set(uses) == {":?run deploy/passwords.sh"}, name
    assert "$" not in re.sub(r"\$\{\w+(:-[\w:/.]*|:\+1|:\?[^}]+)\}", "", text)


class Overrides(yaml.SafeLoader):
    """Reads the tag `!reset` of Compose, which removes a value of the first file."""


Overrides.add_constructor("!reset", lambda _loader, _node: REMOVED)


def secret_settings(kind: type[BaseSettings]) -> set[str]:
    """The settings that are never printed."""
    return {
        str(field.alias)
        for field in kind.model_fields.values()
        if "SecretStr" in str(field.annotation)
    }


def test_every_secret_can_be_a_file(compose: dict[str, Any]) -> None:
    """The example has a file for each secret of each container, named like its setting."""
    example = yaml.load(SECRETS.read_text(), Overrides)  # noqa: S506  (a safe loader)
    every = set[str]().union(*map(secret_settings, ALL))
    assert {"OPENAI_API_KEY", "DATABASE_URL", "SLACK_BOT_TOKEN", "DISCORD_TOKEN"} < every
    given = set[str]()
    for name, service in example["services"].items():
        files = {one if isinstance(one, str) else one["source"] for one in service["secrets"]}
        given |= files
        if name == "postgres":
            assert service["environment"]["POSTGRES_PASSWORD"] is REMOVED
            assert service["environment"]["POSTGRES_PASSWORD_FILE"] in {
                f"/run/secrets/{file}" for file in files
            }
            continue
        settings = {one if isinstance(one, str) else one["target"] for one in service["secrets"]}
        removed = {"NATS_URL", "DATABASE_URL"} if name == "admin" else {"NATS_URL"}
        assert settings == EXPECTED[name] & every | removed, name
        assert service["environment"] == dict.fromkeys(removed, REMOVED), name  # they would win
    ours = {name for name, service in our_services(compose) if "NATS_URL" in service["environment"]}
    assert set(example["services"]) == ours - {"ask"} | {"postgres"}
    assert set(example["secrets"]) == given
    for name, secret in example["secrets"].items():
        assert secret == {"file": f"./secrets/{name}"}
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"secrets/", "docker-compose.override.yml", ".env"} <= set(ignored)


def test_every_command_exists(compose: dict[str, Any], tmp_path: Path) -> None:
    """Each service runs a command of `threadwax`, with existing options."""
    for name, service in our_services(compose):
        arguments = service.get("command") or service["entrypoint"][1:]
        command, *options = arguments
        done = subprocess.run(
            [sys.executable, "-m", "ops", command, "--help"], cwd=ROOT,
            env={"PATH": "", "THREADWAX_HOME": str(tmp_path)},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, name
        for option in options:
            assert option in done.stdout, (name, option)
