"""Opens tabs of a Streamlit page, and counts how often the page updates their growing answers.

Run as `web_tabs URL TABS SECONDS KIND`; KIND is `ask` (each tab asks a question first) or `watch`.
Prints `growing` when the answers of all tabs grow, and counts from then on; at the end the updates
per second and tab as JSON.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable

from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from tests.web_tab import WebTab

AT_ONCE = 10
"""Tabs that are opened at the same time."""

WITHIN_S = 120.0
WORD = "word"


class _Tab(WebTab):
    def __init__(self, url: str, user: str) -> None:
        super().__init__(lambda: url, ping_s=None, user=user)
        self.counting = False
        self.grew = 0

    async def _receive(self, message: ForwardMsg) -> None:
        if self.counting:  # as little as possible: these processes share the machine
            self.grew += message.WhichOneof("type") == "delta"
        else:
            await super()._receive(message)

    def is_growing(self) -> bool:
        return any(node.kind == "markdown" and WORD in node.text for node in self.nodes.values())


async def _opened(tab: _Tab) -> None:
    await tab.__aenter__()
    assert await tab.until(lambda: tab.can_ask and tab.is_finished, within_s=WITHIN_S)


async def _asked(tab: _Tab) -> None:
    await tab.say("Tell me everything.")
    assert await tab.until(lambda: any(t.is_waiting for t in tab.turns()), within_s=WITHIN_S)


async def _watched(tab: _Tab) -> None:
    await tab.__aenter__()
    assert await tab.until(lambda: tab.run, within_s=WITHIN_S)


async def _growing(tab: _Tab) -> None:
    assert await tab.until(tab.is_growing, within_s=WITHIN_S), tab.text()
    tab.counting = True


async def main(url: str, count: int, seconds: float, kind: str) -> None:
    tabs = [_Tab(url, f"user{number}") for number in range(count)]
    gate = asyncio.Semaphore(AT_ONCE)

    async def gated(step: Callable[[_Tab], Awaitable[None]], tab: _Tab) -> None:
        async with gate:
            await step(tab)

    for step in (_opened, _asked) if kind == "ask" else (_watched,):
        await asyncio.gather(*(gated(step, tab) for tab in tabs))
    await asyncio.gather(*(_growing(tab) for tab in tabs))
    before = [tab.grew for tab in tabs]
    print("growing", flush=True)  # noqa: T201
    began = time.monotonic()
    await asyncio.sleep(seconds)
    took = time.monotonic() - began
    rates = [(tab.grew - old) / took for tab, old in zip(tabs, before, strict=True)]
    print(json.dumps(sorted(rates)), flush=True)  # noqa: T201
    for tab in tabs:
        await tab.__aexit__(None, None, None)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]))
