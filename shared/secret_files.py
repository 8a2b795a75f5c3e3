"""Settings from files: secrets that a container or a service is given, one file per setting.

A file is named like its setting, and an environment variable or a line of `.env` wins over it. This
module must never read a file itself: pydantic-settings does, and only the files it has names for.
"""

import os
from pathlib import Path
from typing import Final

CONTAINER: Final = "/run/secrets"
"""Where Docker and Podman put them: https://docs.docker.com/compose/how-tos/use-secrets/"""

SERVICE_ENV: Final = "CREDENTIALS_DIRECTORY"
"""Where systemd puts a unit's: https://systemd.io/CREDENTIALS/"""


def secrets_dirs() -> list[Path]:
    """The folders of secrets that exist here; a file of the last one wins."""
    named = (CONTAINER, os.environ.get(SERVICE_ENV, ""))
    return [Path(name) for name in named if os.path.isdir(name)]  # noqa: PTH112  (never raises)
