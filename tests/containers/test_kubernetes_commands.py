"""The commands of docs/kubernetes.md for backup and restore, with containers in the place of pods.

`kubectl` is a shell function here: `exec` becomes `docker compose exec` while the deployment runs,
and a container that does nothing else (an idle pod) during the restore. `patch`, `scale` and
`apply` need a cluster; tests/integration/test_kubernetes.py tries the patches on the manifests.
"""

import re
from collections.abc import Callable

import pytest

from tests.containers.site import Site, until, volumes, why_not
from tests.containers.test_backup import VOLUMES, commands, counted
from tests.containers.test_platforms import answered, in_slack

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
    pytest.mark.timeout(600),
]

RUNNING = 'docker compose exec -T "$part" "$@"'
IDLE = 'first=$1; shift; docker compose run --rm -T --no-deps --entrypoint "$first" "$part" "$@"'

KUBECTL = """\
idle() {{ true; }}
kubectl() {{
  [ "$1 $2" = "-n threadwax" ] && shift 2
  [ "$1" = exec ] || return 0
  shift; [ "$1" != --stdin ] || shift
  part=${{1#*/}}; shift
  [ "$1" = -- ] && shift
  {exec}
}}
"""


def test_the_conversations_and_the_recorders_file_of_small_come_back(
    deploy: Callable[..., Site],
) -> None:
    def page(containing: str, within: str = RUNNING) -> str:
        script = commands(of="kubernetes.md", containing=containing)
        script = script.replace("2026-11-27", "$(date +%F)")
        return f"{url}dataflow=statefulset/dataflow\n{KUBECTL.format(exec=within)}{script}"

    (url,) = re.findall(r"(?m)^ *(url\(\) .*\n)", commands(of="kubernetes.md", containing="url()"))
    site = deploy("slack")
    site.up()
    threads = {in_slack(site, f"number {i}"): f"number {i}" for i in range(5)}
    until(lambda: answered(site, threads, {}))
    assert site.ask("remember Kraken") == "answer to: remember Kraken"
    until(lambda: "6" in site.shell(counted("sqlite")).stdout)
    site.shell(page("VACUUM INTO"))
    site.shell(page("threadwax backup -"))

    parts = ("slack", "dataflow", "recorder", "gateway", "setup", "nats")
    site.compose("rm", "--stop", "--force", *parts)
    site.shell(
        "docker volume rm threadwax_nats-data threadwax_dataflow-data threadwax_recorder-data"
    )
    assert not volumes(site, VOLUMES)
    site.compose("up", "--detach", "--wait", "nats")
    restored = site.shell(page("threadwax restore -", within=IDLE))
    assert "Restored" in restored.stdout + restored.stderr
    again = site.shell(page("cat > recorder/threadwax.sqlite", within=IDLE))
    assert again.returncode == 0
    refused = site.shell(page("cat > recorder/threadwax.sqlite", within=IDLE), check=False)
    assert refused.returncode != 0, "it replaces nothing"

    site.up()
    site.call("model", "requests.clear")
    assert site.ask("what do you remember?") == "answer to: what do you remember?"
    assert "Kraken" in str(site.call("model", "requests"))
    until(lambda: "7" in site.shell(counted("sqlite")).stdout)
    assert answered(site, threads, {})
    assert set(site.asked()) == {"what do you remember?"}
