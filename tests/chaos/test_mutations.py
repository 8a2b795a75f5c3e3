"""Each safeguard is needed: without it, the named tests fail, and fail in an assertion.

With the safeguard they pass, as part of the suite.
"""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.chaos.mutants import MUTANTS
from tests.running import ROOT

ENDS_WITHIN_S = 100.0
ASSERTED = ("assert ", "AssertionError", "Failed: DID NOT RAISE")
SOME_TESTS_FAILED = 1


@pytest.mark.parametrize("name", MUTANTS)
def test_without_a_safeguard_the_suite_fails(name: str, tmp_path: Path) -> None:
    """Each named test fails in an assertion, not because of a fixture or a timeout."""
    mutant = MUTANTS[name]
    noticing = mutant.noticed_by
    report = tmp_path / "report.xml"
    ended = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "tests.chaos.mutation_plugin",
            "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "run"),
            "--junitxml", str(report), *noticing,
        ],
        cwd=ROOT, env=os.environ | {"MUTANT": name}, capture_output=True, text=True, check=False,
        timeout=ENDS_WITHIN_S,
    )  # fmt: skip
    assert ended.returncode == SOME_TESTS_FAILED, ended.stdout[-3000:] + ended.stderr[-1000:]
    cases = list(ET.parse(report).iter("testcase"))  # noqa: S314  (our own)
    assert len(cases) == len(noticing)
    for case in cases:
        failure = case.find("failure")
        assert failure is not None, f"{case.get('name')} noticed nothing: {mutant.hidden_by}"
        assert failure.get("message", "").startswith(ASSERTED), failure.get("message")
