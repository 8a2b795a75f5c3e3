"""Why a folder cannot hold the data, in words. Looks only: it must never make anything."""

import os
from pathlib import Path
from typing import Final

ANOTHER: Final = "set THREADWAX_HOME to another folder"


def fault_of(home: Path) -> str:
    """What is wrong with the data folder, and what to do; empty if it can be used or made."""
    for folder in (home, *home.parents):
        try:
            folder.lstat()
        except OSError:  # it does not exist yet, or a folder above it does not let us in
            continue
        fault = _fault_of_existing(folder)
        return f"{home} cannot be made, because {fault}" if fault and folder != home else fault
    return ""


def _fault_of_existing(folder: Path) -> str:
    try:
        if folder.is_symlink() and not folder.exists():
            return (
                f"{folder} is a link to {folder.readlink()}, which does not exist: "
                f"make that folder, or {ANOTHER}"
            )
        if not folder.is_dir():
            return f"{folder} is not a folder: remove it, or {ANOTHER}"
    except OSError as error:  # a link to a place that does not let us in, or to itself
        return f"{folder} cannot be used ({error.strerror}): {ANOTHER}"
    if not os.access(folder, os.W_OK | os.X_OK):
        return f"{folder} is not writable for this user: make it writable, or {ANOTHER}"
    return ""
