"""A headless Chromium that tests look through: what people see and press, by roles and labels."""

import asyncio
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

WITHIN_S = 90.0
"""Enough while other tests take the machine."""

POLL_S = 0.05
WIDE = (1280, 900)
NARROW = (390, 844)
"""A phone."""


class _Turn:
    """Lets the browsers of one test process at a time run: several would only slow each other."""

    def __init__(self) -> None:
        self._browsers = 0
        self._file = Path(tempfile.gettempdir()) / f"threadwax-browser-{os.getuid()}.lock"
        self._lock: TextIO | None = None

    def __enter__(self) -> None:
        if self._lock is None:
            self._lock = self._file.open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._browsers += 1

    def __exit__(self, *_: object) -> None:
        self._browsers -= 1
        if not self._browsers and self._lock is not None:
            self._lock.close()
            self._lock = None


_TURN = _Turn()


@contextmanager
def browser(*, size: tuple[int, int] = WIDE, dark: bool = False) -> Iterator[webdriver.Chrome]:
    """A browser with a profile of its own: no cookies, no history."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("chromium and chromium-driver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--lang=en", f"--window-size={size[0]},{size[1]}", "--hide-scrollbars",
        "--force-prefers-reduced-motion",  # frames are drawn by the processor
    ):  # fmt: skip
        options.add_argument(argument)
    if dark:
        options.add_argument("--force-dark-mode")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with _TURN:
        yield from _started(options, driver, size=size, dark=dark)


def _started(
    options: webdriver.ChromeOptions, driver: str, *, size: tuple[int, int], dark: bool
) -> Iterator[webdriver.Chrome]:
    started = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        if size[0] < 500:  # narrower than Chromium's smallest window
            started.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride",
                {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": True},
            )
        if dark:
            started.execute_cdp_cmd(
                "Emulation.setEmulatedMedia",
                {"features": [{"name": "prefers-color-scheme", "value": "dark"}]},
            )
        yield started
    finally:
        started.quit()


class Tab:
    """One tab of a browser with a page open. Waits for what it looks for; never sleeps blindly."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver
        self.window = driver.current_window_handle

    async def open(self, address: str) -> "Tab":
        await self._do(lambda: self.driver.get(address))
        return self

    async def another(self, address: str) -> "Tab":
        """A second tab of the same browser."""

        def opened() -> Tab:
            self.driver.switch_to.new_window("tab")
            return Tab(self.driver)

        return await (await asyncio.to_thread(opened)).open(address)

    async def reload(self) -> None:
        await self._do(self.driver.refresh)

    async def say(self, text: str) -> None:
        """Writes into the input, which takes part in this only once the page is connected."""
        box = await self.find("[data-testid=stChatInputTextArea]:not(:disabled)")
        await self._do(lambda: box.send_keys(text, Keys.ENTER))

    async def attach(self, *files: Path) -> None:
        """Adds files to the next question."""
        chooser = await self.find("[data-testid=stChatInput] input[type=file]")
        await self._do(lambda: chooser.send_keys("\n".join(map(str, files))))
        await self.reads(*(file.name for file in files))

    async def press(self, key: str, *, unless: str = "") -> None:
        """Presses a button by the key that its page gives it; `*` stands for anything after it.

        Not if there is an element that `unless` selects.
        """
        pattern = f"[class*='st-key-{key.removesuffix('*')}'] button"

        def pressed() -> bool:
            if unless and self._all(unless):
                return True
            found = [one for one in self._all(pattern) if one.is_displayed()]
            if found:
                self.driver.execute_script(
                    "arguments[0].scrollIntoView({block:'center'})", found[-1]
                )
                found[-1].click()
            return bool(found)

        await self.until(pressed)

    async def write(self, label: str, text: str, *, then: str = Keys.TAB) -> None:
        """Replaces the text of a field."""

        def written() -> bool:
            (field,) = self._all(f"input[aria-label='{label}'],textarea[aria-label='{label}']")
            field.click()
            field.send_keys(Keys.CONTROL, "a")
            field.send_keys(text, then)
            return True

        await self.until(written)

    async def find(self, selector: str) -> WebElement:
        found: list[WebElement] = []

        def is_there() -> bool:
            found[:] = self._all(selector)
            return bool(found)

        await self.until(is_there)
        return found[-1]

    async def reads(self, *texts: str, within_s: float = WITHIN_S) -> str:
        """Waits until the page shows these texts; returns all of its text."""
        await self.until(
            lambda: all(text in self.text() for text in texts), within_s=within_s, why=str(texts)
        )
        return await self._do(self.text)

    async def reads_one_of(self, *texts: str) -> str:
        """Waits until the page shows one of these texts; returns all of its text."""
        await self.until(lambda: any(text in self.text() for text in texts), why=str(texts))
        return await self._do(self.text)

    async def lacks(self, *texts: str) -> None:
        await self.until(lambda: not any(text in self.text() for text in texts), why=str(texts))

    async def answers(self, count: int) -> list[str]:
        """Waits until this many answers are finished; returns them, oldest first."""
        done = "[data-testid=stChatMessage]:has([data-testid=stFeedback])"
        await self.until(lambda: self._count(done) >= count, why=f"{count} answers")
        return await self._do(lambda: [one.text for one in self._all(done)])

    async def screenshot(self, file: Path) -> None:
        await self._do(lambda: self.driver.save_screenshot(str(file)))

    async def until(
        self, condition: Callable[[], object], *, within_s: float = WITHIN_S, why: str = ""
    ) -> None:
        """Waits for a condition, which may look for what is not there yet or not there any more."""

        def waited() -> None:
            end = time.monotonic() + within_s
            while True:
                self._look()
                try:
                    if condition():
                        return
                except (WebDriverException, ValueError):
                    pass
                if time.monotonic() > end:
                    raise AssertionError(f"{why} in {within_s:g} s; the page reads:\n{self.text()}")
                time.sleep(POLL_S)

        await asyncio.to_thread(waited)

    def text(self) -> str:
        """All text of the page, as people see it."""
        return self.driver.find_element(By.TAG_NAME, "body").text

    def requested(self) -> list[str]:
        """The addresses from which the page loaded anything."""
        found: list[str] = self.driver.execute_script(
            "return performance.getEntriesByType('resource').map(entry => entry.name)"
        )
        return found

    def _all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def _count(self, selector: str) -> int:
        return len(self._all(selector))

    def _look(self) -> None:
        if self.driver.current_window_handle != self.window:
            self.driver.switch_to.window(self.window)

    async def _do(self, work: Callable[[], Any]) -> Any:
        def done() -> Any:
            self._look()
            return work()

        return await asyncio.to_thread(done)
