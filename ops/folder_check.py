"""Creates the data folder, or explains why a folder cannot be one."""

import os
from pathlib import Path
from typing import Final

from shared.private_file import make_private

ANOTHER: Final = "set THREADWAX_HOME to another folder"


def make_usable(home: Path) -> str:
    """Creates the data folder, readable by its owner only; returns what is wrong, if anything."""
    try:
        make_private(home)
    except OSError as error:
        return fault_of(home) or f"{home}: {error.strerror or error}: {ANOTHER}"
    return ""


def fault_of(home: Path) -> str:
    """Says what is wrong with the data folder and how to fix it; empty if nothing is.

    Creates nothing.
    """
    for folder in (home, *home.parents):
        try:
            folder.lstat()
        except OSError:  # it does not exist yet, or a folder above it is not accessible
            continue
        fault = _fault_of_existing(folder)
        return f"{home} cannot be created, because {fault}" if fault and folder != home else fault
    return ""


def _fault_of_existing(folder: Path) -> str:
    try:
        if folder.is_symlink() and not folder.exists():
            return (
                f"{folder} is a link to {folder.readlink()}, which does not exist: "
                f"create that folder, or {ANOTHER}"
            )
        if not folder.is_dir():
            return f"{folder} is not a folder: remove it, or {ANOTHER}"
    except OSError as error:  # a link to an inaccessible place, or to itself
        return f"{folder} cannot be used ({error.strerror}): {ANOTHER}"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"{folder} is not writable for this user: make it writable, or {ANOTHER}"
    return ""
