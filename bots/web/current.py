"""The page of this process: scripts of pages are run by Streamlit, which passes them nothing."""

from dataclasses import dataclass

from bots.web.platform import Web
from shared.bus import Bus


@dataclass(frozen=True, slots=True)
class Current:
    """What scripts work with. All of it runs in the event loop: call it through `Web.call`."""

    web: Web
    bus: Bus
    links_accounts: bool
    """Whether people can link their accounts on several platforms."""


_current: list[Current] = []


def set_up(web: Web, bus: Bus, *, links_accounts: bool) -> None:
    """Makes this the page that scripts work with."""
    _current[:] = [Current(web, bus, links_accounts)]


def current() -> Current:
    """What `set_up` made."""
    return _current[0]
