"""Finds folders of secret files, which containers and services use for settings, one file each.

A file has the name of its setting; environment variables and `.env` take precedence. This module
must never read a file: pydantic-settings does, and reads only those whose names are settings.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

CONTAINER: Final = "/run/secrets"
"""Docker and Podman put them here: https://docs.docker.com/compose/how-tos/use-secrets/"""

SERVICE_ENV: Final = "CREDENTIALS_DIRECTORY"
"""systemd names a unit's folder in this variable: https://systemd.io/CREDENTIALS/"""


def secrets_dirs() -> list[Path]:
    """The folders of secrets that exist here; the last one takes precedence."""
    named = (CONTAINER, os.environ.get(SERVICE_ENV, ""))
    return [Path(name) for name in named if os.path.isdir(name)]  # noqa: PTH112  (never raises)


def secret_files() -> dict[str, Path]:
    """The files in these folders by their names in lower case, whether they are settings or not."""
    files: dict[str, Path] = {}
    for folder in secrets_dirs():
        with suppress(OSError):  # pydantic-settings reports a folder that cannot be listed
            files |= {path.name.lower(): path for path in folder.iterdir()}
    return files
