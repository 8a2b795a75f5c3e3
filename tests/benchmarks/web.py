"""The web page with many growing answers, and its start, compared with a bare Streamlit page.

The bare page shows the same text at the same rate with `st.write_stream`, under `streamlit run`.
"""

import asyncio
import contextlib
import json
import os
import socket
import statistics
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from tests.benchmarks.figures import Figure, Target, percentile
from tests.benchmarks.processes import cpu_s, module, nats, pid_of, rss_mb, started
from tests.running import ROOT, Running
from tests.web_tab import WebTab

TABS = 250
RATE = 10.0
"""Words per second; the page redraws a growing answer at most this often."""

SECONDS = 15.0
STARTS = 3
START_WITHIN_S = 60.0
POLL_S = 0.01
BARE = "bare page with st.write_stream"

STREAMLIT_RUN = """
import sys
from streamlit.web.cli import main
sys.argv = ["streamlit", "run", "tests/benchmarks/web_bare.py", "--server.port", "{port}",
            "--server.headless", "true", "--browser.gatherUsageStats", "false"]
main()
"""


@dataclass(frozen=True, slots=True)
class _Growth:
    """Updates per second of each tab in ascending order, and the server's use of the machine."""

    rates: list[float]
    cpu_share: float
    rss_mb: float

    @property
    def mean(self) -> float:
        return statistics.mean(self.rates)


async def measure(home: Path) -> list[Figure]:
    """Measures the start of both pages in turn, then the growing answers of each."""
    home.mkdir(parents=True, exist_ok=True)
    async with nats(home) as server, started(_ours("recorder", home, server.url)):
        starts: dict[str, list[float]] = {"ours": [], "bare": []}
        for turn in range(STARTS):
            starts["ours"].append(await _start_of_ours(home / f"start{turn}", server.url))
            starts["bare"].append(await _start_of_bare(home / f"start{turn}"))
        ours, bare = await _ours_growing(home / "ours", server.url), await _bare_growing(home)
    return _start_figures(starts) + _growth_figures(ours, bare)


# --- start ---------------------------------------------------------------------------------------


async def _start_of_ours(home: Path, nats_url: str) -> float:
    began = time.monotonic()
    async with _page(home, nats_url) as (address, _):
        return await _first_page(lambda: address, began)


async def _start_of_bare(home: Path) -> float:
    began = time.monotonic()
    async with _bare(home, 1) as (address, _):
        return await _first_page(lambda: address, began)


async def _first_page(address: Callable[[], str], began: float) -> float:
    """Returns the seconds until GET / works, and the first run of the script has drawn the page."""
    await _until(lambda: _answers(address()))
    async with WebTab(address, user="first") as tab:

        def is_drawn() -> bool:
            return tab.is_finished or any(node.kind == "markdown" for node in tab.nodes.values())

        assert await tab.until(is_drawn, within_s=START_WITHIN_S)
        return time.monotonic() - began


def _answers(address: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5) as page:  # noqa: S310
        return bool(page.status == HTTPStatus.OK)
    return False


async def _until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(START_WITHIN_S):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(POLL_S)


# --- growing answers -----------------------------------------------------------------------------


async def _ours_growing(home: Path, nats_url: str) -> _Growth:
    async with (
        started(module("web_partials", nats_url, RATE, TABS, home=home)),
        _page(home, nats_url) as (address, running),
    ):
        await _until(lambda: _answers(address))
        return await _growth(address, pid_of(running), "ask")


async def _bare_growing(home: Path) -> _Growth:
    async with _bare(home, TABS) as (address, running):
        await _until(lambda: _answers(address))
        return await _growth(address, pid_of(running), "watch")


async def _growth(address: str, pid: int, kind: str) -> _Growth:
    tabs = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.web_tabs", address, str(TABS), str(SECONDS), kind,
        stdout=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    try:
        assert tabs.stdout is not None
        assert (await tabs.stdout.readline()).strip() == b"growing"
        used, began = cpu_s(pid), time.monotonic()
        rates = json.loads(await tabs.stdout.readline())
        used, took = cpu_s(pid) - used, time.monotonic() - began
        return _Growth(rates, used / took, rss_mb(pid))
    finally:
        with contextlib.suppress(ProcessLookupError):
            tabs.kill()
        await tabs.wait()


# --- processes -----------------------------------------------------------------------------------


def _ours(command: str, home: Path, nats_url: str) -> Running:
    env = {"NATS_URL": nats_url, "THREADWAX_HOME": str(home), "THREADWAX_WEB_PORT": "0"}
    home.mkdir(parents=True, exist_ok=True)
    return Running(command, log=home / f"{command}.log", env=env)


@contextlib.asynccontextmanager
async def _page(home: Path, nats_url: str) -> AsyncIterator[tuple[str, Running]]:
    running, url = _ours("web", home, nats_url), home / "web" / "url"
    try:
        running.start()
        await _until(url.exists)
        yield url.read_text().strip(), running
    finally:
        running.kill()


@contextlib.asynccontextmanager
async def _bare(home: Path, tabs: int) -> AsyncIterator[tuple[str, Running]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    running = Running(
        "-c", STREAMLIT_RUN.format(port=port), log=home / "bare.log",
        env={"RATE": str(RATE), "TABS": str(tabs), "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
    )  # fmt: skip
    try:
        running.start()
        yield f"http://127.0.0.1:{port}", running
    finally:
        running.kill()


# --- figures -------------------------------------------------------------------------------------


def _start_figures(starts: dict[str, list[float]]) -> list[Figure]:
    return [
        Figure(
            "web page, start until the first page is drawn", statistics.median(starts["ours"]), "s",
            BARE, statistics.median(starts["bare"]), Target("value", at_most=3.0),
        ),
        Figure("web page, the slowest start of three", max(starts["ours"]), "s", BARE,
               max(starts["bare"])),
    ]  # fmt: skip


def _growth_figures(ours: _Growth, bare: _Growth) -> list[Figure]:
    what = f"{TABS} growing answers"

    def compared(name: str, of: Callable[[_Growth], float], unit: str) -> Figure:
        return Figure(f"{what}, {name}", of(ours), unit, BARE, of(bare))

    return [
        compared("updates per second and session", lambda it: it.mean, "/s"),
        compared("the same, slowest session", lambda it: it.rates[0], "/s"),
        compared("the same, p50", lambda it: percentile(it.rates, 0.5), "/s"),
        compared("processor of the process", lambda it: it.cpu_share * 100, "%"),
        compared("processor per second and session", lambda it: it.cpu_share / TABS * 1e3, "ms"),
        compared("processor per update", lambda it: it.cpu_share / TABS / it.mean * 1e3, "ms"),
        compared("memory of the process", lambda it: it.rss_mb, "MB"),
    ]
