"""The command /export: writes a person's own data to a file in the current folder.

It must never overwrite a file, and nobody else on the machine can read it.
"""

import os
from datetime import datetime
from pathlib import Path

from shared.own_history import file_name


def written(data: bytes, folder: Path, now: datetime) -> Path:
    """Writes the file; returns its path. Blocks.

    Raises:
        OSError: it cannot be written, or exists.
    """
    path = folder / file_name(now)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
    except FileExistsError:
        raise
    except OSError:
        path.unlink(missing_ok=True)  # not a part of it, which could be taken for all
        raise
    return path
