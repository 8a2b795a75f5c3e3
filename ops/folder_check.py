"""Explains why a folder cannot be the data folder. Never creates anything."""

import os
from pathlib import Path
from typing import Final

ANOTHER: Final = "set THREADWAX_HOME to another folder"


def fault_of(home: Path) -> str:
    """Says what is wrong with the data folder and how to fix it; empty if nothing is."""
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
