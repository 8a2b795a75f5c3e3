"""Three real nats-servers with deploy/nats-cluster.conf and TLS: one cluster, on loopback or hosts.

Only paths and ports of the files in deploy/ are changed. The certificates are those that
deploy/cluster-certificates.sh makes.
"""

import asyncio
import http.client
import json
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ops.nats_server import binary
from ops.ports import HOST, free_port
from tests.namespaces import Host
from tests.running import ROOT, START_S, before_exec

ROLES = (
    "admin", "dataflow", "recorder", "gateway", "terminal", "client", "ask", "slack", "discord",
    "web",
)  # fmt: skip
ACCOUNT = "CHAT"


class Node:
    """One server. `start` again after `kill` or `stop` continues with the same data."""

    def __init__(
        self, name: str, folder: Path, env: dict[str, str], on: Host | None = None
    ) -> None:
        self.on = on
        self.address = HOST if on is None else on.address
        self.name = name
        self.folder = folder
        self.port, self.monitor_port, self.route_port = free_port(), free_port(), free_port()
        self.env = {"THREADWAX_NATS_NAME": name, **env}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def route(self) -> str:
        return f"nats://{self.address}:{self.route_port}"

    def start(self) -> None:
        """Starts the process without waiting for it.

        It ends together with its host, or with the calling thread.
        """
        if self.on is None:
            self._start()
        else:
            self.on.call(self._start)

    def _start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [binary(), "-c", str(self.folder / "nats-cluster.conf"), "-a", self.address,
                 "-p", str(self.port), "-m", str(self.monitor_port)],
                env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=before_exec,  # noqa: PLW1509  (two system calls, no locks)
            )  # fmt: skip

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        """Ends it cleanly."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(START_S)

    @property
    def is_healthy(self) -> bool:
        """Whether it serves clients, and has all of its streams and consumers up to date."""
        return self.ask("/healthz") is not None

    def ask(self, path: str) -> dict[str, Any] | None:
        """What its monitoring says; None if it does not answer or is not well."""
        return self._ask(path) if self.on is None else self.on.call(self._ask, path)

    def _ask(self, path: str) -> dict[str, Any] | None:
        connection = http.client.HTTPConnection(HOST, self.monitor_port, timeout=2)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            found: dict[str, Any] = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError):
            return None
        else:
            return found if response.status == http.HTTPStatus.OK else None
        finally:
            connection.close()

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")


class NatsCluster:
    """The servers and the passwords of their users."""

    def __init__(self, folder: Path, hosts: Sequence[Host] = ()) -> None:
        """Each server runs on one of the three `hosts`; without them, all run on this one."""
        self.folder = folder
        self.passwords = {role: f"p{secrets.token_hex(12)}" for role in ROLES}
        folder.mkdir(parents=True)
        env = {f"THREADWAX_NATS_{r.upper()}_PASSWORD": p for r, p in self.passwords.items()}
        self.authority = folder / "deploy" / "tls" / "ca.pem"
        on: list[Host | None] = [*hosts] or [None, None, None]
        self.nodes = [self._made(f"n{number}", env, host) for number, host in enumerate(on, 1)]
        self._certify(*(f"{node.name},{node.address}" for node in self.nodes))
        routes = {f"THREADWAX_NATS_ROUTE_{n}": node.route for n, node in enumerate(self.nodes, 1)}
        self._env = env | routes
        for node in self.nodes:
            node.env |= routes

    def url(self, role: str, *, first: int = 0) -> str:
        """All servers for a role; `first` is the index of the one that is named first."""
        nodes = self.nodes[first:] + self.nodes[:first]
        return ",".join(f"tls://{role}:{self.passwords[role]}@{n.address}:{n.port}" for n in nodes)

    def env(self, role: str, *, first: int = 0) -> dict[str, str]:
        """Environment variables of a process with this role."""
        return {"NATS_URL": self.url(role, first=first), "SSL_CERT_FILE": str(self.authority)}

    def start(self) -> None:
        """Starts all servers, and returns when they are a cluster that stores messages."""
        for node in self.nodes:
            node.start()
        self.until_healthy()

    def add(self, name: str) -> Node:
        """Starts one more server with the same three routes."""
        self._certify(f"{name},{HOST}")
        node = self._made(name, self._env)
        self.nodes.append(node)
        node.start()
        return node

    def until_healthy(self) -> None:
        """Returns when every server has caught up and there is a leader."""
        deadline = time.monotonic() + START_S
        while not all(node.is_healthy for node in self.nodes) or not self.leader():
            for node in self.nodes:
                assert node.process is not None
                assert node.process.poll() is None, node.log()[-3000:]
            assert time.monotonic() < deadline, [node.log()[-2000:] for node in self.nodes]
            time.sleep(0.05)

    def leader(self, stream: str | None = None) -> str:
        """The server that leads a stream, or the cluster (None); empty if none is known."""
        for node in self.nodes:
            if node.process is None or node.process.poll() is not None:
                continue
            found = node.ask(f"/jsz?acc={ACCOUNT}&streams=true") or {}
            if stream is None:
                name = str(found.get("meta_cluster", {}).get("leader", ""))
            else:
                details = [d for a in found.get("account_details", ()) for d in a["stream_detail"]]
                named = [d for d in details if d["name"] == stream and d.get("cluster")]
                name = str(named[0]["cluster"].get("leader", "")) if named else ""
            if name:
                return name
        return ""

    def node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    def close(self) -> None:
        for node in self.nodes:
            if node.process is not None:
                node.process.send_signal(signal.SIGCONT)
                node.kill()

    def _certify(self, *names: str) -> None:
        deploy = self.folder / "deploy"
        deploy.mkdir(exist_ok=True)
        script = shutil.copy(ROOT / "deploy" / "cluster-certificates.sh", deploy)
        subprocess.run(["sh", script, *names], check=True, capture_output=True)

    def _made(self, name: str, env: dict[str, str], on: Host | None = None) -> Node:
        folder = self.folder / name
        folder.mkdir()
        node = Node(name, folder, env, on)
        changes = {
            'store_dir: "/data"': f'store_dir: "{folder}/store"',
            "/etc/nats/tls/": f"{self.folder}/deploy/tls/{name}/",
            '"0.0.0.0:6222"': f'"{node.address}:{node.route_port}"',
        }
        for file in ("nats-server.conf", "nats-cluster.conf"):
            text = (ROOT / "deploy" / file).read_text()
            for ours, theirs in changes.items():
                text = text.replace(ours, theirs)
            (folder / file).write_text(text)
        return node


@contextmanager
def nats_cluster(folder: Path) -> Iterator[NatsCluster]:
    """A running cluster for one test or module."""
    cluster = NatsCluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


async def until_leader(cluster: NatsCluster, stream: str, *, other_than: str = "") -> str:
    """The name of the stream's leader, once it has one and that is another one."""
    async with asyncio.timeout(START_S):
        while (name := await asyncio.to_thread(cluster.leader, stream)) in {"", other_than}:
            await asyncio.sleep(0.1)
    return name
