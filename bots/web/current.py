"""The page of this process: scripts of pages are run by Streamlit, which passes them nothing."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bots.web.platform import Web


@dataclass(frozen=True, slots=True)
class Current:
    """What scripts work with. All of it runs in the event loop: call it through `Web.call`."""

    web: Web
    fetch_history: Callable[[str], Awaitable[bytes]]


_current: list[Current] = []


def set_up(web: Web, *, fetch_history: Callable[[str], Awaitable[bytes]]) -> None:
    """Makes this the page that scripts work with."""
    _current[:] = [Current(web, fetch_history)]


def current() -> Current:
    """What `set_up` made."""
    return _current[0]
