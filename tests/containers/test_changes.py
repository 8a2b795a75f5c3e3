"""Containers are scaled, upgraded, killed, while people talk: everybody is answered, and once."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.containers.site import IMAGE, POSTGRES, Site, run, until, why_not
from tests.containers.test_backup import commands
from tests.containers.test_platforms import answered, in_discord, in_slack

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
    pytest.mark.timeout(600),
]

CHANGED_IMAGE, CHANGED_NATS = "threadwax-test:changed", "threadwax-test:changed-nats"
PAUSE_S = 0.4
"""Between two questions of the load."""

ADAPTERS = ("slack", "discord")
SCALED = ("dataflow", "gateway", "slack")


class Load:
    """People who ask in Slack and Discord."""

    def __init__(self, site: Site) -> None:
        self.slack: dict[str, str] = {}
        self.discord: dict[int, str] = {}
        self._site = site

    def ask(self) -> None:
        number = len(self.slack)
        self.slack[in_slack(self._site, f"slack {number}")] = f"slack {number}"
        self.discord[in_discord(self._site, f"discord {number}")] = f"discord {number}"

    def all_answered(self) -> bool:
        return answered(self._site, self.slack, self.discord)


@contextmanager
def talking(site: Site) -> Iterator[Load]:
    """People talk within this block; afterwards, every question must have its answer, once."""
    load, over = Load(site), threading.Event()

    def talk() -> None:
        while not over.wait(PAUSE_S):
            load.ask()

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield load
    finally:
        over.set()
        thread.join()
    until(load.all_answered, 90)
    again = sum(calls > 1 for calls in site.asked().values())
    print(f"{2 * len(load.slack)} questions, {again} asked of the model again")  # noqa: T201


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_two_of_each_share_the_work(deploy: Callable[..., Site], store: str) -> None:
    postgres = store == "postgresql"
    site = deploy(*ADAPTERS, *(["postgres"] if postgres else []),
                  settings=POSTGRES if postgres else "")  # fmt: skip
    two = [word for part in SCALED for word in ("--scale", f"{part}=2")]
    site.up(*two)
    assert all(len(site.ids(part)) == 2 for part in SCALED)
    with talking(site) as load:
        until(lambda: len(load.slack) > 3)
        for part in SCALED:
            site.kill(site.ids(part)[0])
            assert (
                site.ask(f"while one {part} is killed") == f"answer to: while one {part} is killed"
            )
        site.up(*two)
        stopped = run("docker", "stop", site.ids("dataflow")[1])
        assert stopped.returncode == 0
    assert {one["State"]["Running"] for one in site.inspect("dataflow")} == {True, False}
    site.up()
    assert site.ask("with one of each") == "answer to: with one of each"
    assert len(site.ids("slack")) == 1


def test_an_upgrade_of_every_service_under_load(
    deploy: Callable[..., Site], tmp_path: Path
) -> None:
    for tag, base in ((CHANGED_IMAGE, IMAGE), (CHANGED_NATS, "nats:2.15-alpine")):
        (tmp_path / "Dockerfile").write_text(f"FROM {base}\nLABEL changed=1\n")
        run("docker", "build", "--quiet", "--tag", tag, str(tmp_path))
    site = deploy(*ADAPTERS)
    site.up()
    parts = ("dataflow", "recorder", "gateway", *ADAPTERS)
    before = {part: site.ids(part) for part in (*parts, "nats")}
    steps = commands(of="deploy.md", containing="docker compose run --rm setup")
    with talking(site) as load:
        until(lambda: len(load.slack) > 3)
        site.use(CHANGED_IMAGE)
        site.shell(steps.replace("docker compose build", "true"))
        assert site.ids("nats") == before["nats"]
        site.override(f"services: {{nats: {{image: {CHANGED_NATS!r}}}}}")
        site.shell("docker compose up --detach nats")
        count = len(load.slack)
        until(lambda: len(load.slack) > count + 3)
    after = {part: site.ids(part) for part in (*parts, "nats")}
    assert not [part for part in after if after[part] == before[part]]
    assert all(one["Config"]["Labels"]["changed"] == "1" for one in site.inspect("slack"))
    assert set(site.asked().values()) == {1}


def test_each_container_is_killed_and_starts_again(deploy: Callable[..., Site]) -> None:
    site = deploy(*ADAPTERS)
    site.up()
    parts = ("nats", "dataflow", "recorder", "gateway", *ADAPTERS)
    with talking(site) as load:
        for part in parts:
            count = len(load.slack)
            until(lambda: len(load.slack) > count + 2)  # noqa: B023
            (only,) = site.ids(part)
            site.kill(only)
        site.up()
        # All at once, as after a power cut of the machine.
        site.kill(*(one for part in parts for one in site.ids(part)))
        site.up()
    assert all(site.inspect(part)[0]["RestartCount"] == 2 for part in parts)
