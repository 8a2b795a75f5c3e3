"""The administrator's commands of the docs: backup, restore, dead letters, doctor."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.containers.site import POSTGRES, Site, until, volumes, why_not
from tests.containers.test_platforms import CHANNEL, DIRECT, answered, answers_in_slack, in_slack
from tests.running import ROOT

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
    pytest.mark.timeout(600),
]

VOLUMES = {"nats-data", "dataflow-data", "recorder-data", "postgres-data"}
PROFILES = {"sqlite": ("slack",), "postgresql": ("slack", "postgres")}


def commands(*, of: str, containing: str) -> str:
    """The shell commands of a page that contain this text."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / of).read_text(), re.DOTALL)
    (found,) = [block for block in blocks if containing in block]
    return str(found)


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_a_running_deployment_is_backed_up_and_restored_into_empty_volumes(
    deploy: Callable[..., Site], store: str
) -> None:
    settings = POSTGRES if store == "postgresql" else ""
    site = deploy(*PROFILES[store], settings=settings)
    site.up()
    threads = {in_slack(site, f"number {i}"): f"number {i}" for i in range(5)}
    until(lambda: answered(site, threads, {}))
    assert site.ask("remember Kraken") == "answer to: remember Kraken"
    until(lambda: "6" in site.shell(counted(store)).stdout)

    site.set_fake("model", "delay_s", 2.0)
    pending = in_slack(site, "pending at the backup")
    until(lambda: "pending at the backup" in site.asked())
    done = site.shell(commands(of="deploy.md", containing="admin backup - >"))
    (archive,) = Path(site.folder).glob("threadwax-*.tar")
    assert archive.stat().st_mode & 0o777 == 0o600, done
    assert archive.stat().st_size > 10_000
    threads[pending] = "pending at the backup"
    until(lambda: answered(site, threads, {}))
    site.set_fake("model", "delay_s", 0.0)

    # Into a deployment that is not empty: refused, and nothing changes.
    restore = commands(of="deploy.md", containing="admin restore -")
    restore = re.sub(r"threadwax-2026-11-27\.tar", archive.name, restore)
    emptied, _, restored = restore.partition("docker compose run")
    refused = site.shell("docker compose stop dataflow recorder gateway slack\n"
                         f"docker compose run{restored}", check=False)  # fmt: skip
    assert refused.returncode != 0
    site.up()
    assert answered(site, threads, {})

    site.shell(keeping_the_fakes(emptied))
    assert not volumes(site, VOLUMES)
    site.shell(f"docker compose run{restored}")
    asked_before = site.asked()
    site.up()
    site.call("model", "requests.clear")
    assert site.ask("what do you remember?") == "answer to: what do you remember?"
    assert "Kraken" in str(site.call("model", "requests"))
    until(lambda: "8" in site.shell(counted(store)).stdout)
    # The pending question may be asked once more; its answer is not shown again.
    assert answered(site, threads, {})
    assert set(site.asked()) <= {"what do you remember?", "pending at the backup"}, asked_before


def keeping_the_fakes(script: str) -> str:
    """The platform and the model must not forget what was said, so their container stays."""
    return script.replace(
        "docker compose down",
        "docker compose rm --stop --force $(docker compose config --services | grep -v fakes)",
    )


def counted(store: str) -> str:
    """Counts the answers in the database."""
    query = "select count(*) from answers"
    if store == "postgresql":
        return f'docker compose exec -T postgres psql -U threadwax -Atc "{query}"'
    return (
        "docker compose exec -T recorder python -c 'import sqlite3; "
        f'print(sqlite3.connect("/data/recorder/threadwax.sqlite").execute("{query}").fetchone())\''
    )


def test_dead_letters_and_the_doctor(deploy: Callable[..., Site]) -> None:
    site = deploy("slack")
    site.up()
    examined = site.compose("run", "--rm", "-T", "admin", "doctor", check=False)
    assert examined.returncode == 0, examined.stdout
    for part in ("streams", "model", "dataflow", "database", "gateway"):
        assert re.search(rf"(?m)^ok +{part} ", examined.stdout), examined.stdout

    def dlq(*arguments: str) -> str:
        return site.compose("run", "--rm", "-T", "admin", "dlq", *arguments).stdout

    def refused(question: str) -> tuple[str, str]:
        """A question whose answer cannot be shown; returns its thread and the letter's number."""
        site.set_fake("slack", "takes_no", dict.fromkeys((CHANNEL, DIRECT), "restricted_action"))
        thread = in_slack(site, question)
        letters = until(lambda: json.loads(dlq("list", "--json")), 60)
        site.set_fake("slack", "takes_no", {})
        assert answers_in_slack(site, thread) == []
        return thread, str(letters[-1]["number"])

    thread, number = refused("not shown")
    assert "restricted_action" in dlq("list")
    assert "answer to: not shown" in dlq("show", number)
    dlq("replay", number)
    until(lambda: answers_in_slack(site, thread) == ["answer to: not shown"])
    thread, number = refused("never shown")
    dlq("drop", "--yes", number)
    assert json.loads(dlq("list", "--json")) == []
    assert answers_in_slack(site, thread) == []
    assert set(site.asked().values()) == {1}

    site.compose("stop", "dataflow")
    examined = site.compose("run", "--rm", "-T", "admin", "doctor", check=False)
    assert examined.returncode == 1
    assert "no process serves the questions" in examined.stdout
