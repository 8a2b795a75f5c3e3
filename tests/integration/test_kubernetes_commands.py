"""The patches of docs/kubernetes.md for a restore, applied to the manifests by `kubectl` itself.

No cluster is needed. tests/containers runs what the commands do inside of pods.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_kubernetes import OVERLAYS, rendered
from tests.running import ROOT

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is needed")

IDLE = {
    "small": "statefulset/dataflow deployment/recorder",
    "high-availability": "deployment/dataflow",
}
PRINT = "kubectl() { printf '%s\\n' \"$@\" | sed -n '/^--patch$/,$p' | tail -n +2; }\n"


def patch_of(function: str, workload: str) -> str:
    """What a shell function of the page passes to `kubectl patch`."""
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    (defined,) = re.findall(rf"(?ms)^{function}\(\) .*?; }}$", page)
    script = f"{PRINT}{defined}\n{function} {workload}"
    done = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True)
    return done.stdout


def patched(workload: dict[str, Any], kind: str, patch: str) -> dict[str, Any]:
    done = subprocess.run(
        ["kubectl", "patch", "--local", "-f", "-", "--type", kind, "--patch", patch, "-o", "json"],
        input=json.dumps(workload), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_pod_becomes_idle_and_runs_again(overlay: str) -> None:
    objects = rendered(Path(ROOT / "deploy" / "kubernetes" / "overlays" / overlay))
    for name in IDLE[overlay].split():
        (before,) = [
            one for one in objects
            if f"{one['kind'].lower()}/{one['metadata']['name']}" == name
        ]  # fmt: skip
        idle = patched(before, "strategic", patch_of("idle", name))
        assert idle["spec"]["replicas"] == 1
        (container,) = idle["spec"]["template"]["spec"]["containers"]
        (usual,) = before["spec"]["template"]["spec"]["containers"]
        probes = {"startupProbe", "livenessProbe", "readinessProbe"}
        assert container == {name: value for name, value in usual.items() if name not in probes} | {
            "command": ["sleep", "infinity"]
        }
        awake = patched(idle, "json", patch_of("wake", name))
        assert "command" not in awake["spec"]["template"]["spec"]["containers"][0]
