"""Prometheus next to the parts: it reads all of them, and its alerts fire."""

import json
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tests.containers.site import Site, until, why_not
from tests.running import ROOT

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
    pytest.mark.timeout(600),
]

PARTS = {"dataflow", "recorder", "gateway", "slack", "discord"}
PARTITIONS = 16


class Prometheus:
    """Its API, through the published port."""

    def __init__(self, site: Site) -> None:
        self._url = f"http://{site.port('prometheus', 9090)}/api/v1"

    def get(self, path: str, **arguments: str) -> Any:
        url = f"{self._url}/{path}?{urllib.parse.urlencode(arguments)}"
        with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310
            return json.loads(response.read())["data"]

    def values(self, query: str) -> dict[str, float]:
        """The sum by service."""
        found: Counter[str] = Counter()
        for one in self.get("query", query=query)["result"]:
            found[one["metric"].get("instance", "").partition("/")[0]] += float(one["value"][1])
        return dict(found)

    def firing(self) -> set[str]:
        return {
            one["labels"]["alertname"]
            for one in self.get("alerts")["alerts"]
            if one["state"] == "firing"
        }


def test_every_part_is_read_and_an_alert_fires(deploy: Callable[..., Site]) -> None:
    site = deploy("slack", "discord", "metrics")
    site.up("--scale", "dataflow=2")
    prometheus = Prometheus(site)
    assert site.ask("counted") == "answer to: counted"
    processes = dict.fromkeys(PARTS, 1) | {"dataflow": 2}
    until(lambda: prometheus.values('up{job="threadwax-parts"}') == processes, 60)
    until(lambda: prometheus.values("threadwax_ready") == processes, 60)
    until(lambda: sum(prometheus.values("threadwax_answered_total").values()) == 1, 60)
    assert sum(prometheus.values("threadwax_partitions_held").values()) == PARTITIONS
    (group,) = prometheus.get("rules")["groups"]
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus-rules.yml").read_text())
    assert [one["name"] for one in group["rules"]] == [
        one["alert"] for one in rules["groups"][0]["rules"]
    ]

    def health() -> set[str]:
        return {one["health"] for one in prometheus.get("rules")["groups"][0]["rules"]}

    until(lambda: health() == {"ok"}, 60)
    assert prometheus.firing() == set()
    site.compose("stop", "recorder")
    until(lambda: prometheus.firing() == {"ThreadwaxDown"}, 240)
    site.compose("start", "recorder")
    until(lambda: prometheus.firing() == set(), 60)
