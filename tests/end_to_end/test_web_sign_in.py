"""Signing in at a real OpenID Connect provider on loopback, in a real browser."""

import asyncio
import http.client
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from ops.ports import HOST, free_port
from tests.end_to_end.web_system import WebSystem, own_system
from tests.web_browser import Tab, browser

pytestmark = [pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]

PEOPLE = (
    {"sub": "1001", "email": "ada@example.org", "email_verified": True},
    {"sub": "1002", "email": "ada@example.org", "email_verified": False},
    {"sub": "1003", "email": "eve@example.com", "email_verified": True},
)


@contextmanager
def provider(folder: Path) -> Iterator[str]:
    """Starts the provider; returns the address of its configuration."""
    port = free_port()
    people = [part for one in PEOPLE for part in ("--user-claims", json.dumps(one))]
    command = Path(sys.executable).with_name("oidc-provider-mock")
    with (folder / "provider.log").open("wb") as log:
        process = subprocess.Popen(
            [command, "--port", str(port), *people], stdout=log, stderr=log
        )  # fmt: skip
    try:
        while not _is_open(port):
            assert process.poll() is None, (folder / "provider.log").read_text()
            time.sleep(0.05)
        yield f"http://localhost:{port}/.well-known/openid-configuration"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _is_open(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", "/.well-known/openid-configuration")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WebSystem]:
    home = tmp_path_factory.mktemp("sign-in")
    port = free_port()
    with provider(home) as configuration:
        env = {
            "THREADWAX_WEB_URL": f"http://localhost:{port}",
            "THREADWAX_WEB_OIDC_URL": configuration,
            "THREADWAX_WEB_OIDC_CLIENT_ID": "threadwax",
            "THREADWAX_WEB_OIDC_CLIENT_SECRET": "a-secret-of-the-test",
            "THREADWAX_WEB_OPERATORS": "ada@example.org",
            "THREADWAX_WEB_ALLOW_USERS": "@example.org, 1002",
        }
        async with own_system(home, web_port=port, **env) as started:
            yield started


async def signed_in(driver: Chrome, system: WebSystem, subject: str) -> Tab:
    """A tab in which this person has just signed in."""
    tab = await Tab(driver).open(system.address)
    await tab.press("sign-in")

    def chosen() -> bool:
        buttons = driver.find_elements(By.CSS_SELECTOR, "button")
        matching = [one for one in buttons if subject in (one.get_attribute("outerHTML") or "")]
        if matching:
            matching[0].click()
        return bool(matching)

    await tab.until(chosen)
    return tab


async def test_a_person_signs_in_and_stays_so_until_all_tabs_are_signed_out(
    system: WebSystem,
) -> None:
    with browser() as driver:
        tab = await signed_in(driver, system, "1001")
        await tab.reads("Signed in as ada@example.org")
        await tab.say("Who am I?")
        await tab.answers(1)
        await tab.reload()
        await tab.reads("Signed in as ada@example.org")
        second = await tab.another(driver.current_url)
        await second.answers(1)
        system.web.kill()
        system.start_web()
        await system.web_ready()
        await tab.reload()
        await tab.answers(1)
        await second.reload()
        await second.answers(1)
        await tab.press("sign-out")
        await second.reads("Sign in")
        await second.lacks("Who am I?", "Signed in as")
        await second.reload()
        await second.reads("Sign in")
        assert not driver.get_cookie("_streamlit_user")


async def test_only_a_verified_address_counts(system: WebSystem) -> None:
    with browser() as driver:
        tab = await signed_in(driver, system, "1002")
        await tab.reads("Signed in as ada@example.org", "What shall we talk about?")
        await tab.lacks("Dashboard")


async def test_an_account_that_is_not_admitted_can_do_nothing(system: WebSystem) -> None:
    with browser() as driver:
        tab = await signed_in(driver, system, "1003")
        await tab.reads("may not use this page")
        await tab.lacks("What shall we talk about?", "New conversation")


async def test_a_name_in_the_address_is_nobody_once_people_sign_in(system: WebSystem) -> None:
    with browser() as driver:
        tab = await Tab(driver).open(f"{system.address}/?user=1001")
        await tab.reads("Sign in")
        await tab.lacks("What shall we talk about?")


@pytest.mark.parametrize("path", ["/", "/_stcore/stream", "/_stcore/host-config"])
@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Host": "localhost", "Origin": "https://evil.example"}],
    ids=["host", "origin"],
)
async def test_other_hosts_and_origins_are_refused(
    system: WebSystem, path: str, headers: dict[str, str]
) -> None:
    def status(headers: dict[str, str]) -> int:
        connection = http.client.HTTPConnection(HOST, system.port, timeout=10)
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                   "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
        connection.request("GET", path, headers=(upgrade if "stream" in path else {}) | headers)
        found = connection.getresponse().status
        connection.close()
        return found

    assert await asyncio.to_thread(status, headers) == http.HTTPStatus.FORBIDDEN
    own = {"Host": f"localhost:{system.port}", "Origin": f"http://localhost:{system.port}"}
    assert await asyncio.to_thread(status, own) < http.HTTPStatus.BAD_REQUEST
    assert "external IP" not in system.web.log.read_text()
