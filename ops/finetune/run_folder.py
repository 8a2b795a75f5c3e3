"""The folder of a training in progress: what is trained there, and its checkpoints.

Kept when a training is interrupted, and removed when its adapter is stored.
"""

import shutil
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from ops.finetune.adapters import FOLDER, Hyperparameters
from ops.finetune.errors import BadInput
from ops.finetune.json_file import read_json, write_json
from shared.private_file import make_folder, sync_folder

_RUN_FILE: Final = "run.json"


class Run(BaseModel):
    """Identifies a training: it is continued only with the same data, base model and numbers."""

    model_config = ConfigDict(frozen=True)
    base_sha256: str
    data_sha256: str
    held_out_sha256: str | None
    held_out_share: float
    hyperparameters: Hyperparameters


class RunFolder:
    """The folder of the training of one adapter; hold `lock_file` while using it."""

    def __init__(self, home: Path, name: str) -> None:
        self.path = home / FOLDER / "training" / name
        self.lock_file = self.path.with_name(f"{name}.lock")

    @property
    def result(self) -> Path:
        """Where the finished adapter is assembled."""
        return self.path / "result"

    def open(self, run: Run, *, restart: bool) -> bool:
        """Begins a training or returns to it; returns whether it was there.

        Raises:
            BadInput: the folder has checkpoints of another one, and `restart` is False.
        """
        before = read_json(self.path / _RUN_FILE, Run)
        if before == run and not restart:
            return True
        if before is not None and not restart:
            changed = ", ".join(_differences(before, run))
            raise BadInput(
                f"a training of {self.path.name} was interrupted, and this one is another: it has "
                f"a different {changed}. Use the same to continue it, or --restart to discard it"
            )
        shutil.rmtree(self.path, ignore_errors=True)
        make_folder(self.path)
        write_json(self.path / _RUN_FILE, run)
        return False

    def new_result(self) -> Path:
        """An empty folder for the finished adapter."""
        shutil.rmtree(self.result, ignore_errors=True)
        self.result.mkdir()
        return self.result

    def publish(self, target: Path) -> None:
        """Moves the finished adapter to its place, instead of an earlier one of the same name."""
        make_folder(target.parent)
        if target.exists():
            shutil.rmtree(self.path / "replaced", ignore_errors=True)
            target.rename(self.path / "replaced")
        self.result.rename(target)
        sync_folder(target.parent)
        shutil.rmtree(self.path)


def _differences(one: Run, other: Run) -> list[str]:
    """The names of what differs, in words."""
    words = {
        "base_sha256": "base model",
        "data_sha256": "data file",
        "held_out_sha256": "held-out file",
        "held_out_share": "held-out share",
    }
    found = [text for name, text in words.items() if getattr(one, name) != getattr(other, name)]
    numbers = one.hyperparameters.model_dump()
    return found + [
        name.replace("_", " ")
        for name, value in other.hyperparameters.model_dump().items()
        if numbers[name] != value
    ]
