"""The checkpoints of a training, from which an interrupted one continues.

Never trusts a checkpoint that was cut short: only a marker, written last, makes it complete.
"""

import os
import shutil
from pathlib import Path
from typing import Final

from shared.private_file import private_file

_COMPLETE: Final = "complete"
_PATTERN: Final = "checkpoint-*"
"""How the Trainer of transformers names them: checkpoint-<steps done>."""


def mark_complete(checkpoint: Path) -> None:
    """Marks a checkpoint as complete once its files would survive a power cut."""
    for file in checkpoint.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    private_file(checkpoint / _COMPLETE, str(_steps(checkpoint)))


def newest(folder: Path) -> Path | None:
    """The complete checkpoint with the most steps; incomplete ones are removed."""
    complete = []
    for checkpoint in folder.glob(_PATTERN):
        if (checkpoint / _COMPLETE).exists():
            complete.append(checkpoint)
        else:
            shutil.rmtree(checkpoint)
    return max(complete, key=_steps, default=None)


def _steps(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])
