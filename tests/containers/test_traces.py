"""Traces from containers, and an image that does not contain them."""

import json
from collections.abc import Callable

import pytest

from tests.containers.site import IMAGE, TRACED, TRACED_IMAGE, Site, run, until, why_not

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
    pytest.mark.timeout(300),
]

IMPORTS = """
import importlib.util, sys
import dataflow.run, bots.gateway.run, bots.slack.run, bots.discord.run
print([name for name in sys.modules if name.startswith("opentelemetry")],
      importlib.util.find_spec("opentelemetry"))
"""


def test_the_usual_image_has_no_opentelemetry() -> None:
    said = run("docker", "run", "--rm", "--entrypoint", "python", IMAGE, "-c", IMPORTS).stdout
    assert said.split() == ["[]", "None"]


def test_every_part_sends_its_spans_to_a_receiver_in_the_network(
    deploy: Callable[..., Site],
) -> None:
    site = deploy("slack", settings=TRACED, image=TRACED_IMAGE)
    site.up()
    assert site.ask("traced") == "answer to: traced"

    def services() -> set[str]:
        spans = site.spans()
        whole = {one["trace"] for one in spans if one["name"] == "record"}
        return {one["service"] for one in spans if one["trace"] in whole}

    expected = {"threadwax-gateway", "threadwax-dataflow", "threadwax-recorder"}
    until(lambda: services() == expected)
    ts = site.call("slack", "mention", text="Q: traced in Slack")
    until(lambda: "threadwax-slack" in services())
    assert site.call("slack", "thread", channel="CROOM", thread=ts) == [
        "answer to: traced in Slack"
    ]
    assert len({one["trace"] for one in site.spans()}) == 2


def test_compose_builds_the_library_into_images_if_there_is_an_endpoint(
    deploy: Callable[..., Site],
) -> None:
    for settings, traces in (("", ""), (TRACED, "1")):
        config = deploy("web", settings=settings).compose("config", "--format", "json")
        services = json.loads(config.stdout)["services"]
        for name in ("setup", "web"):
            assert services[name]["build"]["args"]["TRACES"] == traces


def test_an_endpoint_without_the_library_is_refused_with_what_to_do(
    deploy: Callable[..., Site],
) -> None:
    site = deploy(settings=TRACED)
    site.compose("up", "--detach", "nats", "setup")
    refused = site.compose("run", "--rm", "-T", "gateway", check=False)
    assert refused.returncode == 78
    assert "TRACES=1" in refused.stderr + refused.stdout
