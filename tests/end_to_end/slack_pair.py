"""Two Slack adapters with NATS and a dataflow, all real processes, and a fake workspace."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ops.nats_server import NatsServer
from tests.end_to_end.redundant import Pair
from tests.end_to_end.test_slack_processes import PROGRAM, echo
from tests.fakes.model import FakeModel
from tests.fakes.slack import APP_TOKEN, BOT_TOKEN, FakeSlack
from tests.fakes.slack_delivery import Sock
from tests.fakes.tcp_proxy import TcpProxy
from tests.running import Running, dataflow

SERVER = re.compile(r"http://127\.0\.0\.1:\d+/slack/events")


@dataclass
class SlackWorld:
    slack: FakeSlack
    model: FakeModel
    pair: Pair
    over_http: bool
    sockets: list[list[Sock]] = field(default_factory=list)
    """The connections of each process, in Socket Mode."""
    proxies: dict[str, TcpProxy] = field(default_factory=dict)
    """Between the first process and `nats` or `slack`."""

    def send_to(self, number: int) -> None:
        """Slack sends everything to this process from now on."""
        self.slack.sockets.only = self.sockets[number]

    def balance(self) -> None:
        """Tells the load balancer where the two processes listen."""
        if self.over_http:
            logs = [one.log.read_text() for one in self.pair.both]
            self.slack.sockets.http_urls = [SERVER.findall(log)[-1] for log in logs]


@pytest.fixture(params=["sockets", "http"])
async def slack_world(
    request: pytest.FixtureRequest, nats: NatsServer, tmp_path: Path
) -> AsyncIterator[SlackWorld]:
    slack = await FakeSlack().start()
    slack.sockets.retries_s = (1.0, 4.0, 8.0, 16.0)
    model = await FakeModel(reply=echo, piece_chars=12, pause_s=0.1).start()
    flow = dataflow(tmp_path / "flow", nats.url, model.base_url).start()
    over_http = request.param == "http"
    how = (
        {"SLACK_SIGNING_SECRET": slack.sockets.signing_secret, "SLACK_HTTP_PORT": "0"}
        if over_http
        else {"SLACK_APP_TOKEN": APP_TOKEN}
    )
    proxies = {"nats": await TcpProxy.start(nats.url), "slack": await TcpProxy.start(slack.url)}
    urls = [
        (proxies["nats"].url(nats.url), proxies["slack"].url(slack.url)), (nats.url, slack.url),
    ]  # fmt: skip
    pair = Pair(*(
        Running(
            "-c", PROGRAM, log=tmp_path / f"slack{number}.log",
            env={
                "NATS_URL": nats_url, "THREADWAX_HOME": str(tmp_path / f"slack{number}"),
                "SLACK_API_URL": slack_url, "SLACK_BOT_TOKEN": BOT_TOKEN, **how,
                "PYTHONPATH": str(Path(__file__).parents[2]), "THREADWAX_HTTP_PORT": "0",
            },
        )
        for number, (nats_url, slack_url) in enumerate(urls)
    ))  # fmt: skip
    world = SlackWorld(slack, model, pair, over_http, proxies=proxies)
    try:
        await flow.ready()
        for one in pair.both:
            await one.start().ready()
        # In turn, so that the two events of a mention come to different processes.
        live = slack.sockets.live
        world.sockets = [live[:2], live[2:]]
        live[:] = live[0::2] + live[1::2]
        world.balance()
        yield world
    finally:
        pair.kill()
        flow.kill()
        for proxy in proxies.values():
            await proxy.stop()
        await slack.stop()
        await model.stop()
