"""deploy/kubernetes, rendered by Kustomize: valid objects that follow our own rules.

These tests start no cluster: docs/kubernetes.md lists what was validated and what was not.
"""

import logging
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from bots.discord.settings import DiscordSettings
from bots.slack.settings import SlackSettings
from bots.web.settings import USUAL_PORTS, WebSettings
from dataflow.run import DRAIN_S
from dataflow.shutdown import END_S
from ops.supervise import STOP_DEADLINE_S
from shared.settings import Settings
from tests.integration.test_compose import EXPECTED, aliases, secret_settings
from tests.running import ROOT

OVERLAYS: Final = ("small", "high-availability")
VERSIONS: Final = ("1.27", "1.32", "1.37")
"""The oldest that has every field, one of the middle, and the newest with schemas here."""

STATUS: Final = {"THREADWAX_HTTP_HOST", "THREADWAX_HTTP_PORT"}
OF_OTHERS: Final = {
    "GOMEMLIMIT", "SSL_CERT_FILE", "THREADWAX_NATS_NAME",
    "THREADWAX_NATS_ROUTE_1", "THREADWAX_NATS_ROUTE_2", "THREADWAX_NATS_ROUTE_3",
}  # fmt: skip
"""Variables that Go, OpenSSL and deploy/nats-cluster.conf read."""

OF_THE_CLUSTER: Final = {"THREADWAX_NATS_REPLICAS"}
"""A setting of the setup."""

PLACEHOLDER: Final = re.compile(r"^registry\.example/threadwax(-web)?:(?P<version>\S+)$")
LDM_S: Final = 32
"""`lame_duck_duration` and `lame_duck_grace_period` of the NATS servers."""

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is needed")

Object = dict[str, Any]


def rendered(folder: Path) -> list[Object]:
    done = subprocess.run(
        ["kubectl", "kustomize", "--load-restrictor", "LoadRestrictionsNone", str(folder)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


@pytest.fixture(scope="module", params=OVERLAYS)
def objects(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[Object]:
    """Everything that an overlay can create, with all its components."""
    deploy = tmp_path_factory.mktemp("kubernetes") / "deploy"
    shutil.copytree(ROOT / "deploy", deploy)
    if not (deploy / "nats-cluster.conf").exists():
        (deploy / "nats-cluster.conf").write_text('include "nats-server.conf"\n')
    overlay = deploy / "kubernetes" / "overlays" / request.param
    file = overlay / "kustomization.yaml"
    file.write_text(re.sub(r"(?m)^  # - (?=\.\./)", "  - ", file.read_text()))
    found = rendered(overlay)
    assert {one["metadata"]["name"] for one in found} > {"discord", "slack", "web", "threadwax"}
    return found


def workloads(objects: list[Object]) -> Iterator[Object]:
    for one in objects:
        if one["kind"] in {"Deployment", "StatefulSet", "Job", "DaemonSet", "CronJob", "Pod"}:
            assert one["kind"] in {"Deployment", "StatefulSet", "Job"}
            yield one


def containers(objects: list[Object]) -> Iterator[tuple[Object, Object]]:
    """The workload and each of its containers."""
    for one in workloads(objects):
        pod = one["spec"]["template"]["spec"]
        for container in [*pod.get("initContainers", ()), *pod["containers"]]:
            yield one, container


def named(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = [o for o in objects if (o["kind"], o["metadata"]["name"]) == (kind, name)]
    return found


def test_the_small_overlay_is_complete_without_any_component() -> None:
    """As it is in the repository: a bot that only the gateway's clients can ask."""
    found = rendered(ROOT / "deploy" / "kubernetes" / "overlays" / "small")
    assert {one["metadata"]["name"] for one in workloads(found)} == {
        "nats", "setup", "dataflow", "recorder", "gateway"
    }  # fmt: skip


def is_ours(container: Object) -> bool:
    return "threadwax" in container["image"]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_follows_the_schema_of_kubernetes(objects: list[Object], version: str) -> None:
    """Unknown fields are errors. There is no schema for the Prometheus operator's own kind."""
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="run make setup-dev")
    logging.getLogger("kubernetes_validate").setLevel(logging.ERROR)
    for one in objects:
        if one["apiVersion"] == "monitoring.coreos.com/v1":
            continue
        kubernetes_validate.validate(one, version, strict=True)
    broken = named(objects, "Deployment", "gateway") | {"spec": {"replica": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, version, strict=True)


def test_every_container_is_confined(objects: list[Object]) -> None:
    """What Kubernetes calls restricted, and more: a read-only root, no token, user 10001."""
    for one in workloads(objects):
        pod = one["spec"]["template"]["spec"]
        name = one["metadata"]["name"]
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, name  # no variables of other services
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), name
        assert pod["securityContext"] == {
            "runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001,
            "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"},
        }, name  # fmt: skip
        assert not any("hostPath" in volume for volume in pod["volumes"]), name
    for one, container in containers(objects):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, one["metadata"]["name"]  # fmt: skip
        # No limit of processors: it would delay answers while processors are idle.
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        assert set(container["resources"]["limits"]) == {"memory"}
    labels = named(objects, "Namespace", "threadwax")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_every_container_that_keeps_running_has_probes(objects: list[Object]) -> None:
    """Not being ready ends nothing, so that a process can wait for NATS or its platform."""
    for one in workloads(objects):
        if one["kind"] == "Job":
            continue
        (container,) = one["spec"]["template"]["spec"]["containers"]
        probes = {kind: container[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness")}
        if is_ours(container):
            port = {"port": "status"}
            assert probes["readiness"]["httpGet"] == {"path": "/readyz"} | port
            for kind in ("startup", "liveness"):
                assert probes[kind]["httpGet"] == {"path": "/healthz"} | port
            assert {p["name"]: p["containerPort"] for p in container["ports"]}["status"] == 8080
        else:
            address = "http://127.0.0.1:8222/healthz"
            assert all(p["exec"]["command"][-1].startswith(address) for p in probes.values())


def test_every_pod_has_enough_time_to_stop(objects: list[Object]) -> None:
    """Kubernetes kills a pod after its grace period, so that is longer than our own deadlines."""
    for one in workloads(objects):
        grace_s = one["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        name = one["metadata"]["name"]
        least = {"dataflow": DRAIN_S + END_S, "nats": LDM_S}.get(name, STOP_DEADLINE_S)
        assert grace_s > least or (name not in {"dataflow", "nats"} and grace_s >= least), name
    server = (ROOT / "deploy" / "nats-server.conf").read_text()
    waits = re.findall(r'lame_duck_(?:duration|grace_period): "(\d+)s"', server)
    assert sum(map(int, waits)) == LDM_S


def test_every_variable_is_a_setting_of_its_part(objects: list[Object]) -> None:
    """A misspelled name would do nothing. Settings that are not secret come from the overlay."""
    for one, container in containers(objects):
        name = one["metadata"]["name"]
        known = EXPECTED.get(name, set[str]()) | STATUS | OF_OTHERS
        if container["name"] == "web":
            known |= aliases(WebSettings)
            ports = {p["name"]: str(p["containerPort"]) for p in container["ports"]}
            assert ports["http"] == str(USUAL_PORTS[0])
        given = {variable["name"] for variable in container.get("env", ())}
        assert given <= known, name
    for one in objects:
        if one["kind"] == "ConfigMap" and (
            part := re.match(r"(\w+)-settings", one["metadata"]["name"])
        ):
            assert set(one.get("data", {})) <= EXPECTED[part[1]] | OF_THE_CLUSTER, part[1]


def test_commented_settings_exist() -> None:
    """The overlays' files name settings of that part only, and no secrets."""
    every = (Settings, SlackSettings, DiscordSettings, WebSettings)
    secrets = set[str]().union(*map(secret_settings, every)) | {"NATS_URL"}
    files = sorted((ROOT / "deploy" / "kubernetes").rglob("settings/*.env"))
    assert len(files) == len(OVERLAYS) * 6
    for file in files:
        names = set(re.findall(r"(?m)^(?:# )?([A-Z][A-Z_]+)=", file.read_text()))
        assert names - {"NAME"} <= EXPECTED[file.stem] | OF_THE_CLUSTER, file
        assert not names & secrets, file


def test_no_secret_is_in_the_repository(objects: list[Object]) -> None:
    """Secrets are named only; each pod gets its own, as files named like settings."""
    assert not [one for one in objects if one["kind"] == "Secret"]
    for one in workloads(objects):
        pod, name = one["spec"]["template"]["spec"], one["metadata"]["name"]
        secrets = {v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v}
        if name == "nats":
            (container,) = pod["containers"]
            assert container["envFrom"] == [{"secretRef": {"name": "nats-passwords"}}]
            continue
        assert secrets - {"nats-tls"} == {name}
        for container in pod["containers"]:
            (mount,) = [m for m in container["volumeMounts"] if m["name"] == "secrets"]
            assert mount == {"name": "secrets", "mountPath": "/run/secrets", "readOnly": True}
        for volume in pod["volumes"]:
            if volume.get("secret", {}).get("secretName") == "nats-tls":
                assert [item["key"] for item in volume["secret"]["items"]] == ["ca.pem"], name


def test_images_are_pinned(objects: list[Object]) -> None:
    """Ours has the version of the project, NATS that of docker-compose.yml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    for one, container in containers(objects):
        if is_ours(container):
            found = PLACEHOLDER.match(container["image"])
            assert found is not None
            assert found["version"] == project["version"]
            wants_page = one["metadata"]["name"] == "web" and container["name"] == "web"
            assert container["image"].startswith("registry.example/threadwax-web:") == wants_page
        else:
            assert container["image"] == compose["services"]["nats"]["image"]


def test_only_what_is_needed_can_be_reached(objects: list[Object]) -> None:
    """Everything is denied first; each label of a policy is the label of some pod."""
    policies = {o["metadata"]["name"]: o["spec"] for o in objects if o["kind"] == "NetworkPolicy"}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    pods = {
        one["metadata"]["name"]: set(one["spec"]["template"]["metadata"]["labels"].items())
        for one in workloads(objects)
    }

    def selected(name: str) -> set[str]:
        wanted = set(policies[name]["podSelector"].get("matchLabels", {}).items())
        assert wanted, name
        return {pod for pod, labels in pods.items() if wanted <= labels}

    assert selected("uses-nats") == set(pods) - {"nats"}
    assert selected("uses-internet") == {"dataflow", "slack", "discord", "web"}
    assert selected("nats") == {"nats"}
    assert selected("web") == {"web"}
    if "uses-database" in policies:
        assert selected("uses-database") == {"dataflow", "recorder"}
    for name, policy in policies.items():
        for rule in policy.get("ingress", ()):
            assert rule["from"], name  # nobody is reached by everybody
            assert rule["ports"], name
        for rule in policy.get("egress", ()):
            assert rule["ports"], name


def test_replicas_are_those_that_each_part_allows(objects: list[Object]) -> None:
    """One where two would do harm; then the old one ends before the new one starts."""
    small = not [o for o in objects if o["kind"] == "PodDisruptionBudget"]
    replicas = {o["metadata"]["name"]: o["spec"].get("replicas") for o in workloads(objects)}
    one_only = {"recorder": 1, "discord": 1, "web": 1, "setup": None}
    several = {"nats": 3, "dataflow": 2, "gateway": 2, "slack": 2}
    assert replicas == one_only | (dict.fromkeys(several, 1) if small else several)
    for name in ("recorder", "discord", "web"):
        assert named(objects, "Deployment", name)["spec"]["strategy"] == {"type": "Recreate"}
    if small:
        # Never two at once, and the conversations survive.
        dataflow = named(objects, "StatefulSet", "dataflow")["spec"]
        assert [c["metadata"]["name"] for c in dataflow["volumeClaimTemplates"]] == ["data"]
        return
    budgets = {o["metadata"]["name"] for o in objects if o["kind"] == "PodDisruptionBudget"}
    assert budgets == set(several)
    for name in several:
        kind = "StatefulSet" if name == "nats" else "Deployment"
        pod = named(objects, kind, name)["spec"]["template"]["spec"]
        keys = {one["topologyKey"] for one in pod["topologySpreadConstraints"]}
        assert keys == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}, name
        (container,) = pod["containers"]
        if name != "nats":
            assert {"name": "SSL_CERT_FILE", "value": "/trust/ca.pem"} in container["env"]


def test_every_volume_is_mounted_and_every_mount_has_a_volume(objects: list[Object]) -> None:
    """Names agree, and each claim exists."""
    claims = {o["metadata"]["name"] for o in objects if o["kind"] == "PersistentVolumeClaim"}
    configs = {o["metadata"]["name"] for o in objects if o["kind"] == "ConfigMap"}
    used = set()
    for one in workloads(objects):
        pod = one["spec"]["template"]["spec"]
        of_claims = {c["metadata"]["name"] for c in one["spec"].get("volumeClaimTemplates", ())}
        volumes = {volume["name"] for volume in pod["volumes"]} | of_claims
        mounts = {
            mount["name"]
            for container in [*pod.get("initContainers", ()), *pod["containers"]]
            for mount in container["volumeMounts"]
        }
        assert mounts == volumes, one["metadata"]["name"]
        used |= {
            v["persistentVolumeClaim"]["claimName"]
            for v in pod["volumes"]
            if "persistentVolumeClaim" in v
        }
        for volume in pod["volumes"]:
            for source in [volume, *volume.get("projected", {}).get("sources", ())]:
                assert source.get("configMap", {}).get("name") in {None, *configs}
    assert used == claims


def test_the_configuration_of_nats_is_that_of_compose(objects: list[Object]) -> None:
    """The overlay reads the same file."""
    (config,) = [
        o for o in objects if o["kind"] == "ConfigMap" and o["metadata"]["name"].startswith("nats-")
    ]
    assert config["data"]["nats-server.conf"] == (ROOT / "deploy" / "nats-server.conf").read_text()
