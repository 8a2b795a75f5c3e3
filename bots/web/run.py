"""`threadwax web`: runs the web page as a process."""

from functools import partial
from typing import Final

from bots.adapter import Adapter, run_adapter
from bots.platform import Publish
from bots.web import current
from bots.web.files import with_files
from bots.web.platform import Web
from bots.web.server import Server
from bots.web.settings import WebSettings
from shared.bus import Bus
from shared.own_history import own_turns
from shared.settings import Settings

TURNS_WITHIN_S: Final = 3.0
"""A page that opens waits no longer for earlier conversations."""


def main(settings: Settings, web: WebSettings) -> int:
    """Runs until it is stopped; returns the exit code."""

    async def make(bus: Bus, publish: Publish) -> Adapter:
        server = Server(web, settings.home)
        made = Web(
            web,
            publish,
            server=server,
            store_files=partial(with_files, bus),
            fetch_turns=partial(own_turns, bus, within_s=TURNS_WITHIN_S),
        )
        current.set_up(made, bus, links_accounts=settings.link_accounts == "on")
        return made

    return run_adapter(settings, "web", make)
