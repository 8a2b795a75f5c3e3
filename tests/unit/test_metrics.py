"""Every metric is documented, and the alert rules and the dashboard use only metrics that exist.

`python -m tests.unit.test_metrics` writes the table of docs/metrics.md again.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from shared import metrics

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "metrics.md"
RULES = ROOT / "deploy" / "prometheus-rules.yml"
DASHBOARD = ROOT / "deploy" / "grafana-dashboard.json"

BEGIN, END = "<!-- metrics -->\n", "<!-- end -->\n"
NAME = re.compile(r"\bthreadwax_[a-z_]+\b(?!-)")  # not a volume of Compose
HISTOGRAM_SERIES = ("_bucket", "_sum", "_count")
KINDS = {Counter: "counter", Gauge: "gauge", Histogram: "histogram"}
UNITS = ("seconds", "bytes")


def collectors() -> list[MetricWrapperBase]:
    """The metrics in the order of their module."""
    return [each for each in vars(metrics).values() if isinstance(each, MetricWrapperBase)]


def name_of(metric: MetricWrapperBase) -> str:
    """The name with which a metric is queried; that of a histogram without its suffixes."""
    return f"{metric._name}_total" if isinstance(metric, Counter) else metric._name


def kind_of(metric: MetricWrapperBase) -> str:
    return next(kind for base, kind in KINDS.items() if isinstance(metric, base))


def series() -> set[str]:
    """Every name that Prometheus can be asked for."""
    return {
        name
        for metric in collectors()
        for name in (
            {name_of(metric) + suffix for suffix in HISTOGRAM_SERIES}
            if isinstance(metric, Histogram)
            else {name_of(metric)}
        )
    }


def rows() -> Iterator[str]:
    yield "| name | type | unit | labels | meaning |"
    yield "|---|---|---|---|---|"
    for metric in collectors():
        unit = next((u for u in UNITS if name_of(metric).endswith(f"_{u}")), "")
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)
        yield (
            f"| `{name_of(metric)}` | {kind_of(metric)} | {unit} | {labels} "
            f"| {metric._documentation} |"
        )


def table() -> str:
    return "".join(f"{row}\n" for row in rows())


def test_the_page_lists_every_metric_as_it_is() -> None:
    _, found, rest = PAGE.read_text().partition(BEGIN)
    assert found
    assert rest.partition(END)[0] == table()


def test_the_page_names_no_metric_that_does_not_exist() -> None:
    known = series() | {name_of(metric) for metric in collectors()}
    for page in ROOT.glob("docs/*.md"):
        assert set(NAME.findall(page.read_text())) <= known | {"threadwax_"}, page


def test_names_follow_the_conventions_of_prometheus() -> None:
    """Base units, `_total` for counters only; see https://prometheus.io/docs/practices/naming."""
    for metric in collectors():
        name = name_of(metric)
        assert NAME.fullmatch(name), name
        assert isinstance(metric, Counter) == name.endswith("_total"), name
        assert not name.endswith(("_ms", "_milliseconds", "_kb", "_s")), name
        if isinstance(metric, Histogram):
            assert name.endswith("_seconds"), name
        assert not {"user", "prompt", "channel", "text"} & set(metric._labelnames), name


def test_alerts_and_dashboard_use_metrics_that_exist() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    for text in (RULES.read_text(), json.dumps(dashboard)):
        used = set(NAME.findall(text))
        assert used
        assert used <= series()


def test_a_process_exports_only_the_gauges_that_it_measures() -> None:
    """A process without a database must not report that the database is away."""
    gauge = metrics.OwnGauge("threadwax_of_a_test", "For a test")
    assert "threadwax_of_a_test" not in generate_latest().decode()
    gauge.set(3)
    gauge.set_function(lambda: 7)
    assert "threadwax_of_a_test 7.0" in generate_latest().decode()
    unlabelled = [one for one in collectors() if isinstance(one, Gauge) and not one._labelnames]
    assert unlabelled
    assert all(isinstance(one, metrics.OwnGauge) for one in unlabelled)


if __name__ == "__main__":
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.partition(END)[2])
