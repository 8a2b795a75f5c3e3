"""`threadwax web`: says what to install if the web page's libraries are missing."""

from importlib.util import find_spec
from typing import Final

from shared import lifecycle
from shared.settings import Settings

PACKAGES: Final = ("authlib", "starlette", "streamlit", "uvicorn")
"""What the extra `web` installs, as far as the page imports it."""

NOT_INSTALLED: Final = (
    "the web page needs the extra `web`: run `make web`, or `pip install 'threadwax[web]'`"
)


def is_installed() -> bool:
    """Whether the web page's libraries are installed. Imports none of them."""
    return all(find_spec(package) is not None for package in PACKAGES)


def main(settings: Settings) -> int:
    """Runs the page until it is stopped; returns the exit code."""
    if not is_installed():
        lifecycle.say(NOT_INSTALLED)
        return lifecycle.CANNOT_START
    from bots.web.run import main as run
    from bots.web.settings import WebSettings
    from ops.settings import read

    return run(settings, read(WebSettings))
