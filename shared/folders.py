"""Finds the data folder and `.env`, unless THREADWAX_HOME names a folder.

The search order is in docs/decisions/0012-where-data-lives.md. It must never create a folder, and
never depend on anything but the current folder and the location of the program.
"""

from pathlib import Path
from typing import Final

APP: Final = "threadwax"
DATA: Final = ".threadwax"
SETTINGS: Final = ".env"

_NO_HOME: Final = Path("/nonexistent")
"""Debian's home for users without one."""

_PROGRAM: Final = Path(__file__).resolve().parent.parent


def project() -> Path | None:
    """The folder that holds `.threadwax` and `.env`; None if the user's own folders are used.

    That is the current folder if it has one of the two or is a checkout, otherwise the checkout
    that this program runs from.
    """
    here = Path.cwd()
    if visible(here / DATA) or visible(here / SETTINGS) or _is_checkout(here):
        return here
    return _PROGRAM if _is_checkout(_PROGRAM) else None


def data_folder() -> Path:
    """The data folder if THREADWAX_HOME is not set."""
    if (folder := project()) is not None:
        return folder / DATA
    return _users("data")


def settings_file() -> Path:
    """The settings file, whether or not it exists."""
    if (folder := project()) is not None:
        return folder / SETTINGS
    return _users("config") / SETTINGS


def other_data(home: Path) -> list[Path]:
    """Other data folders of this user, which a start in another folder would use."""
    candidates = (_PROGRAM / DATA, _users("data"))
    return [folder for folder in candidates if folder != home and _holds_data(folder)]


def visible(path: Path) -> bool:
    """Whether the path exists and this user can see it."""
    try:
        return path.exists()
    except PermissionError:  # after `su`, the current folder can belong to another user
        return False


def _holds_data(folder: Path) -> bool:
    return any(visible(folder / part) for part in ("nats", "dataflow"))


def _is_checkout(folder: Path) -> bool:
    return visible(folder / "pyproject.toml") and visible(folder / "ops" / "cli.py")


def _users(kind: str) -> Path:
    # Imported here, because most starts do not need it.
    from platformdirs import user_config_path, user_data_path  # noqa: PLC0415

    try:
        return (user_data_path if kind == "data" else user_config_path)(APP, appauthor=False)
    except RuntimeError:  # no HOME and no passwd entry, as in some containers
        return _NO_HOME / APP
