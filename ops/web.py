"""`threadwax web`: says what to install if the web page's libraries are missing."""

from importlib.util import find_spec
from typing import Final

from shared import lifecycle
from shared.settings import Settings

NOT_INSTALLED: Final = (
    "the web page needs the extra `web`: run `make web`, or `pip install 'threadwax[web]'`"
)


def main(settings: Settings) -> int:
    """Runs the page until it is stopped; returns the exit code."""
    if find_spec("streamlit") is None:
        lifecycle.say(NOT_INSTALLED)
        return lifecycle.CANNOT_START
    from bots.web.run import main as run
    from bots.web.settings import WebSettings
    from ops.settings import read

    return run(settings, read(WebSettings))
