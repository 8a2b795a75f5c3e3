"""The process of the container `fakes`: Slack, Discord, a model and a receiver of traces.

A test controls it over HTTP: `POST /call {"of": "slack", "do": "mention", "with": {...}}`, and
`POST /set {"of": "model", "name": "delay_s", "value": 2}`.
"""

import asyncio
import json
import socket
from collections import Counter
from dataclasses import asdict
from typing import Any, Final

from aiohttp import web

from tests.fakes.discord import FakeDiscord
from tests.fakes.model import FakeModel
from tests.fakes.otlp import FakeReceiver
from tests.fakes.slack import FakeSlack

CONTROL, SLACK, DISCORD, MODEL, TRACES = 8000, 8001, 8002, 8003, 8004
"""Ports."""

MARK: Final = "Q:"
"""A test's question begins with it. What precedes it in a request is its background."""


class Fakes:
    """The four fakes, which listen on the address of their container."""

    def __init__(self, host: str) -> None:
        self.slack, self.discord = FakeSlack(), FakeDiscord()
        self.model, self.traces = FakeModel(host=host), FakeReceiver(host=host)
        self.model.reply = lambda request: f"answer to: {question_in(request)}"
        self.slack.host = self.discord.host = host

    async def start(self) -> None:
        await self.slack.start(SLACK)
        await self.discord.start(DISCORD)
        await self.model.start(MODEL)
        await self.traces.start(TRACES)

    async def call(self, http: web.Request) -> web.Response:
        order = await http.json()
        result: Any = getattr(self, order["of"])
        for name in order["do"].split("."):
            result = getattr(result, name)
        if callable(result):
            result = result(**order.get("with", {}))
        if asyncio.iscoroutine(result):
            result = await result
        return web.json_response(result, dumps=lambda it: json.dumps(it, default=str))

    async def set(self, http: web.Request) -> web.Response:
        order = await http.json()
        target: Any = getattr(self, order["of"])
        *path, name = order["name"].split(".")
        for step in path:
            target = getattr(target, step)
        setattr(target, name, order["value"])
        return web.json_response(None)

    async def asked(self, _: web.Request) -> web.Response:
        """How often the model was asked each question."""
        return web.json_response(Counter(question_in(one) for one in self.model.requests))

    async def spans(self, _: web.Request) -> web.Response:
        return web.json_response([asdict(one) for one in self.traces.spans])


def question_in(request: dict[str, Any]) -> str:
    return str(request["messages"][-1]["content"]).rpartition(MARK)[2].strip()


async def main() -> None:
    host = socket.gethostbyname(socket.gethostname())
    fakes = Fakes(host)
    await fakes.start()
    app = web.Application()
    app.router.add_post("/call", fakes.call)
    app.router.add_post("/set", fakes.set)
    app.router.add_get("/asked", fakes.asked)
    app.router.add_get("/spans", fakes.spans)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, CONTROL).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
