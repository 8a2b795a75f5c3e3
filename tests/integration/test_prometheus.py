"""The alert rules and the dashboard, as Prometheus itself reads them."""

import json
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.test_docs import anchors

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus-rules.yml"
DASHBOARD = ROOT / "deploy" / "grafana-dashboard.json"
CASES = ROOT / "tests" / "prometheus_rules_test.yml"
WIDTH = 24
"""Columns of Grafana's grid."""


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    binary = shutil.which("promtool")
    if binary is None:
        pytest.skip("promtool is not installed: tests/prometheus_install.sh")
    return subprocess.run(
        [binary, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def test_prometheus_accepts_the_rules() -> None:
    checked = promtool("check", "rules", str(RULES))
    assert checked.returncode == 0, checked.stderr


def test_each_alert_fires_when_it_should_and_not_in_a_healthy_hour() -> None:
    tested = promtool("test", "rules", str(CASES))
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_a_wrong_threshold_fails_the_tests_of_the_rules(tmp_path: Path) -> None:
    """Otherwise the test above could not fail."""
    rules = RULES.read_text().replace("threadwax_model_failing_seconds) > 60", "up) > 1e9")
    (tmp_path / "rules.yml").write_text(rules)
    cases = CASES.read_text().replace("../deploy/prometheus-rules.yml", "rules.yml")
    (tmp_path / "cases.yml").write_text(cases)
    assert promtool("test", "rules", str(tmp_path / "cases.yml")).returncode == 1


def test_each_alert_is_tested_both_ways_and_names_its_remedy() -> None:
    healthy, *others = yaml.safe_load(CASES.read_text())["tests"]
    quiet = {one["alertname"] for one in healthy["alert_rule_test"]}
    fired = {
        one["alertname"] for case in others for one in case["alert_rule_test"]
        if one["exp_alerts"]
    }  # fmt: skip
    names = [alert["alert"] for alert in alerts()]
    assert len(set(names)) == len(names)
    assert quiet == fired == set(names)
    sections = anchors(ROOT / "docs" / "runbook.md")
    for alert in alerts():
        page, _, section = alert["annotations"]["runbook"].partition("#")
        assert page == "docs/runbook.md"
        assert section in sections, alert["alert"]
        assert alert["labels"]["severity"] in {"page", "ticket"}
        assert alert["annotations"]["summary"]


def test_every_query_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    queries = [target["expr"] for panel in panels() for target in panel.get("targets", ())]
    assert queries
    filled = [
        query.replace("$__rate_interval", "5m").replace("$job", ".*") for query in queries
    ]  # fmt: skip
    assert not any("$" in query for query in filled)
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(filled)]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    checked = promtool("check", "rules", str(path))
    assert checked.returncode == 0, checked.stderr


def test_the_dashboard_is_complete_and_tidy() -> None:
    """Unique ids, no overlaps, one data source that can be chosen, and a sentence per panel."""
    dashboard = json.loads(DASHBOARD.read_text())
    variables = {one["name"] for one in dashboard["templating"]["list"]}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(panels()))) <= variables | {"__rate_interval"}
    assert len({panel["id"] for panel in panels()}) == len(panels())
    for panel in panels():
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= WIDTH
        if panel["type"] == "row":
            continue
        assert panel["description"].endswith("."), panel["title"]
        assert panel["targets"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    for one, other in combinations((panel["gridPos"] for panel in panels()), 2):
        assert (
            one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        )  # fmt: skip
