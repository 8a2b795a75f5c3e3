"""Slack's and Discord's containers, confined as docker-compose.yml says, against fake platforms."""

import json
import re
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tests.containers.site import Site, run, until, why_not
from tests.running import ROOT

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
    pytest.mark.timeout(400),
]

CHANNEL, DIRECT = "CROOM", "DADA"
TOKENS = {
    "SLACK_BOT_TOKEN": "xoxb-fake-bot-token",
    "SLACK_APP_TOKEN": "xapp-fake-app-token",
    "DISCORD_TOKEN": "fake.discord.token",
}
NOT_USED = (
    "OPENAI_FALLBACK_API_KEY", "SLACK_SIGNING_SECRET", "SLACK_CLIENT_SECRET",
    "SLACK_INSTALLATIONS_URL",
)  # fmt: skip


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
    assert stop(site, "slack", "discord", "dataflow", "recorder", "gateway", "nats") < 25


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


def test_secrets_in_files_are_in_no_environment(deploy: Callable[..., Site]) -> None:
    """As deploy/compose.secrets.yml has them, except one that a variable with _FILE names."""
    site = deploy("slack", "discord", "postgres")
    passwords = {
        role: site.value(f"THREADWAX_NATS_{role}_PASSWORD")
        for role in ("ADMIN", "DATAFLOW", "RECORDER", "GATEWAY", "SLACK", "DISCORD", "WEB")
    }
    database = site.value("THREADWAX_POSTGRES_PASSWORD")
    files = TOKENS | {
        f"NATS_URL_{role}": f"nats://{role.lower()}:{password}@nats:4222"
        for role, password in passwords.items()
    }
    files["POSTGRES_PASSWORD"] = database
    files["DATABASE_URL"] = f"postgresql://threadwax:{database}@postgres/threadwax"
    example = (ROOT / "deploy" / "compose.secrets.yml").read_text()
    for name in NOT_USED:
        example = re.sub(rf"(?m)^ *(- {name}|{name}: .*)\n", "", example)
    for usual, named in (
        ("- DISCORD_TOKEN\n", "- {source: DISCORD_TOKEN, target: /etc/token}\n"),
        (
            "discord:\n    environment: {",
            "discord:\n    environment: {DISCORD_TOKEN_FILE: /etc/token, ",
        ),
    ):
        assert usual in example
        example = example.replace(usual, named)
    site.override(example)
    folder = site.folder / "secrets"
    folder.mkdir(mode=0o755)
    for name in re.findall(r"\./secrets/(\w+)", example):
        (folder / name).write_text(files.get(name, "a-value"))
        (folder / name).chmod(0o444)
        site.set(**{name: ""})
    site.up()
    slack, discord = {in_slack(site, "one"): "one"}, {in_discord(site, "two"): "two"}
    until(lambda: answered(site, slack, discord))
    examined = site.compose("run", "--rm", "-T", "admin", "doctor", check=False)
    assert examined.returncode == 0, examined.stdout
    for service in ("dataflow", "recorder", "gateway", "slack", "discord", "postgres"):
        seen = run("docker", "inspect", *site.ids(service)).stdout + site.logs(service)
        for value in (*TOKENS.values(), *passwords.values(), database):
            assert value not in seen, service


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
