"""The software bill of materials lists every locked package with its version and hashes.

`make sbom` and the image's build stage write it with the same tool.
"""

import importlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest

from tests.running import ROOT

TOOL: Final = Path(sys.executable).parent / "cyclonedx-py"
LOCKS: Final = ("requirements-web.lock", "requirements-demo-model.lock")
SCHEMA_VERSION: Final = "1.6"

pytestmark = pytest.mark.skipif(not TOOL.is_file(), reason="run make setup-dev: cyclonedx-bom")


def locked(*names: str) -> dict[tuple[str, str], set[str]]:
    """The hashes of each package and version of the lock files."""
    found: dict[tuple[str, str], set[str]] = {}
    for name in names:
        for entry in re.split(r"(?m)^(?=[\w.-]+==)", (ROOT / name).read_text()):
            if pin := re.match(r"([\w.-]+)==([^\s;]+)", entry):
                found[pin[1], pin[2]] = set(re.findall(r"sha256:([0-9a-f]{64})", entry))
    return found


def recipe() -> str:
    """The commands of `make sbom` after its setup."""
    makefile = (ROOT / "Makefile").read_text()
    (commands,) = re.findall(r"(?m)^sbom: setup-dev.*\n((?:\t.*\n)+)", makefile)
    return str(commands)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the commands of `make sbom` write."""
    file = tmp_path_factory.mktemp("sbom") / "threadwax.cdx.json"
    commands = re.sub(r"(?m)^\t@?", "", recipe()).replace("\\\n", " ")
    commands = commands.replace("$(BIN)", str(TOOL.parent)).replace(
        "build/sbom/threadwax.cdx.json", str(file)
    )
    subprocess.run(
        ["sh", "-eu", "-c", commands.replace("mkdir -p build/sbom", "true")], cwd=ROOT, check=True,
        capture_output=True, timeout=60,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_it_follows_the_schema_of_cyclonedx(written: dict[str, Any]) -> None:
    """The schema of the version that it claims to have."""
    assert (written["bomFormat"], written["specVersion"]) == ("CycloneDX", SCHEMA_VERSION)
    version = importlib.import_module("cyclonedx.schema").SchemaVersion
    validators = importlib.import_module("cyclonedx.validation.json")
    validator = validators.JsonStrictValidator(version.from_version(SCHEMA_VERSION))
    assert validator.validate_str(json.dumps(written)) is None
    broken = written | {"components": [{"name": "without a type"}]}
    assert validator.validate_str(json.dumps(broken)) is not None


def test_it_lists_every_locked_package_with_its_hashes(written: dict[str, Any]) -> None:
    """And nothing else."""
    listed = {
        (component["name"], component["version"]): {
            one["content"]
            for reference in component["externalReferences"]
            for one in reference.get("hashes", ())
        }
        for component in written["components"]
    }
    expected = locked(*LOCKS)
    assert expected
    assert all(expected.values())
    assert listed == expected
    for (name, version), component in zip(listed, written["components"], strict=True):
        assert component["purl"].startswith(f"pkg:pypi/{name}@{version}")


def test_it_describes_this_project(written: dict[str, Any]) -> None:
    """By name, version and license; nothing in it depends on the time of the build."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    described = written["metadata"]["component"]
    assert (described["name"], described["version"]) == (project["name"], project["version"])
    assert described["licenses"][0]["license"]["id"] == project["license"]
    assert "timestamp" not in written["metadata"]
    assert "serialNumber" not in written


def test_the_image_has_one_of_what_it_contains() -> None:
    """It is made from the same lock files as the layer of dependencies."""
    text = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes -r installed.lock" in text
    (line,) = [line for line in text.splitlines() if "cyclonedx-py requirements" in line]
    assert line.endswith(" --output-file /opt/bill/share/sbom/threadwax.cdx.json installed.lock")
    assert "COPY --from=bill-of-materials /opt/bill /opt/threadwax\n" in text


def test_the_lock_file_of_the_tool_agrees_with_the_others() -> None:
    """The image's build stage and `make sbom` use the same versions."""
    tools = locked("requirements-sbom.lock")
    assert any(name == "cyclonedx-bom" for name, _ in tools)
    assert tools.keys() <= locked("requirements-dev.lock").keys()
