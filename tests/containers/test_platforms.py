"""Slack's and Discord's containers, confined as docker-compose.yml says, against fake platforms."""

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tests.containers.site import Site, run, until, why_not

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
    pytest.mark.timeout(400),
]

CHANNEL, DIRECT = "CROOM", "DADA"
SECRETS = {
    "SLACK_BOT_TOKEN": "xoxb-fake-bot-token",
    "SLACK_APP_TOKEN": "xapp-fake-app-token",
    "DISCORD_TOKEN": "fake.discord.token",
}


def in_slack(site: Site, question: str) -> str:
    """Asks in a channel. Returns the thread."""
    return str(site.call("slack", "mention", text=f"Q: {question}"))


def answers_in_slack(site: Site, thread: str) -> list[str]:
    found: list[str] = site.call("slack", "thread", channel=CHANNEL, thread=thread)
    return found


def in_discord(site: Site, question: str) -> int:
    return int(site.call("discord", "say", text=f"Q: {question}", mention=True))


def answers_in_discord(site: Site, message: int) -> list[str]:
    found: list[str] = site.call("discord", "replies_to", message_id=message)
    return found


def answered(site: Site, slack: dict[str, str], discord: dict[int, str]) -> bool:
    """Whether each of these has its answer, once."""
    return all(
        answers_in_slack(site, thread) == [f"answer to: {text}"] for thread, text in slack.items()
    ) and all(
        answers_in_discord(site, message) == [f"answer to: {text}"]
        for message, text in discord.items()
    )


def stop(site: Site, *services: str) -> float:
    """Stops containers within their grace period; returns the seconds."""
    began = time.monotonic()
    site.compose("stop", *services)
    took = time.monotonic() - began
    for service in services:
        for one in site.inspect(service):
            assert one["State"]["ExitCode"] == 0, "137 would be a kill after the grace period"
            assert not one["State"]["OOMKilled"]
    return took


def status_of(site: Site, service: str) -> dict[str, str]:
    """/proc/1/status in the container."""
    text = site.compose("exec", "-T", service, "cat", "/proc/1/status").stdout
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def test_both_platforms_are_answered_before_and_after_a_stop(deploy: Callable[..., Site]) -> None:
    site = deploy("slack", "discord")
    site.up()
    slack, discord = {in_slack(site, "one"): "one"}, {in_discord(site, "two"): "two"}
    until(lambda: answered(site, slack, discord))

    for part in ("slack", "discord"):
        confined(site, part)
    site.set_fake("model", "delay_s", 1.0)
    slack[in_slack(site, "under way")] = "under way"
    discord[in_discord(site, "also under way")] = "also under way"
    until(lambda: {"under way", "also under way"} <= set(site.asked()))
    assert stop(site, "slack", "discord") < 25, "the grace period is 30 s"
    discord[in_discord(site, "while it is away")] = "while it is away"
    site.up()
    slack[in_slack(site, "later")] = "later"
    until(lambda: answered(site, slack, discord), 60)
    assert set(site.asked().values()) == {1}


def confined(site: Site, service: str) -> None:
    """The process has no right that docker-compose.yml takes away."""
    status = status_of(site, service)
    assert status["Uid"].split() == ["10001"] * 4
    assert status["Gid"].split() == ["10001"] * 4
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"].strip() == "1"
    touch = site.compose("exec", "-T", service, "touch", "/opt/threadwax/x", "/x", check=False)
    assert touch.stderr.count("Read-only file system") == 2
    written = site.compose("exec", "-T", service, "touch", "/tmp/x", "/data/x")  # noqa: S108
    assert written.returncode == 0
    limits = site.inspect(service)[0]["HostConfig"]
    assert limits["PidsLimit"] == 256
    assert limits["Memory"] == 512 << 20


def test_tokens_in_files_are_in_no_environment(deploy: Callable[..., Site]) -> None:
    site = deploy("slack", "discord")
    folder = site.folder / "secrets"
    folder.mkdir(mode=0o755)
    for name, value in SECRETS.items():
        (folder / name).write_text(value)
        (folder / name).chmod(0o444)
        site.set(**{name: ""})
    services: dict[str, Any] = {}
    # One as docs/deploy.md says first, the others through a variable with _FILE.
    for service, named in (("slack", "SLACK_APP_TOKEN"), ("discord", "DISCORD_TOKEN")):
        own = [name for name in SECRETS if name.startswith(service.upper())]
        services[service] = {
            "environment": {f"{named}_FILE": f"/etc/keys/{named}"},
            "secrets": [
                {"source": name, "target": f"/etc/keys/{name}" if name == named else name}
                for name in own
            ],
        }
    files = {name: {"file": f"./secrets/{name}"} for name in SECRETS}
    site.override({"services": services, "secrets": files})
    site.up()
    slack, discord = {in_slack(site, "one"): "one"}, {in_discord(site, "two"): "two"}
    until(lambda: answered(site, slack, discord))
    seen = run("docker", "inspect", *site.ids("slack"), *site.ids("discord")).stdout
    logged = site.logs("slack") + site.logs("discord")
    for token in SECRETS.values():
        assert token not in seen
        assert token not in logged


def test_slack_events_arrive_through_the_published_port(deploy: Callable[..., Site]) -> None:
    site = deploy("slack", settings="SLACK_SIGNING_SECRET=signing-secret\n")
    site.set(SLACK_APP_TOKEN="")
    site.up()
    url = f"http://{site.port('slack', 3000)}/slack/events"
    assert url.startswith("http://127.0.0.1:")
    ts = site.call("slack", "say", text="<@UBOT> Q: over HTTP")
    events = site.call("slack", "events_of", channel=CHANNEL, ts=ts)

    def post(number: int, event: Any) -> None:
        body = json.dumps({
            "type": "event_callback", "token": "x", "api_app_id": "A1", "event": event,
            "event_id": f"Ev{number}", "event_time": int(time.time()), "team_id": "T1",
            "authorizations": [{"team_id": "T1", "user_id": "UBOT", "is_bot": True}],
        })  # fmt: skip
        headers = site.call("slack", "sockets.signed", body=body)
        headers |= {"Content-Type": "application/json"}
        request = urllib.request.Request(url, body.encode(), headers)
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            assert response.status == 200

    for number, event in enumerate(events):
        post(number, event)
        post(number, event)  # Slack's own retry
    until(lambda: answers_in_slack(site, ts) == ["answer to: over HTTP"])

    # In the network, as from a proxy in a container.
    site.set_fake("slack", "sockets.http_urls", ["http://slack:3000/slack/events"])
    thread = in_slack(site, "from a proxy")
    until(lambda: answers_in_slack(site, thread) == ["answer to: from a proxy"])
    assert stop(site, "slack") < 25
    site.up()
    thread = in_slack(site, "after a restart")
    until(lambda: answers_in_slack(site, thread) == ["answer to: after a restart"])
    assert set(site.asked().values()) == {1}
