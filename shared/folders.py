"""Where the data folder and `.env` are, unless THREADWAX_HOME says otherwise.

The order is short enough to remember (docs/decisions/0012-where-data-lives.md). It must never make
a folder, and never depend on anything but the current folder and the program's own place.
"""

from pathlib import Path
from typing import Final

APP: Final = "threadwax"
DATA: Final = ".threadwax"
SETTINGS: Final = ".env"

_NO_HOME: Final = Path("/nonexistent")
"""What Debian calls the home of a user who has none."""

_PROGRAM: Final = Path(__file__).resolve().parent.parent


def project() -> Path | None:
    """The folder with `.threadwax` and `.env` in it; None: the user's own folders are used.

    It is the current folder if one of the two is there already or if it is a checkout, otherwise
    the checkout that this program runs from.
    """
    here = Path.cwd()
    if visible(here / DATA) or visible(here / SETTINGS) or _is_checkout(here):
        return here
    return _PROGRAM if _is_checkout(_PROGRAM) else None


def data_folder() -> Path:
    """The data folder without THREADWAX_HOME."""
    if (folder := project()) is not None:
        return folder / DATA
    return _users("data")


def settings_file() -> Path:
    """The file of settings, whether it exists or not."""
    if (folder := project()) is not None:
        return folder / SETTINGS
    return _users("config") / SETTINGS


def other_data(home: Path) -> list[Path]:
    """Data folders of this user that a start in another folder would use, other than `home`."""
    candidates = (_PROGRAM / DATA, _users("data"))
    return [folder for folder in candidates if folder != home and _holds_data(folder)]


def visible(path: Path) -> bool:
    """Whether there is something of this name that this user can find."""
    try:
        return path.exists()
    except PermissionError:  # after `su`, the current folder can be one of somebody else
        return False


def _holds_data(folder: Path) -> bool:
    return any(visible(folder / part) for part in ("nats", "dataflow"))


def _is_checkout(folder: Path) -> bool:
    return visible(folder / "pyproject.toml") and visible(folder / "ops" / "cli.py")


def _users(kind: str) -> Path:
    # Imported late: most starts have a folder of their own.
    from platformdirs import user_config_path, user_data_path  # noqa: PLC0415

    try:
        return (user_data_path if kind == "data" else user_config_path)(APP, appauthor=False)
    except RuntimeError:  # neither HOME nor an entry for this user, as in some containers
        return _NO_HOME / APP
