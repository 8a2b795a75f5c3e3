"""The adapters of a data folder: which exist, what they were made from, and how they scored.

Imports nothing large: `up` looks here before it starts the embedded server.
"""

import re
import shutil
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from ops.finetune.errors import UnknownAdapter
from ops.finetune.json_file import read_json, write_json
from shared.private_file import sync_folder

NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
NAME_IN_WORDS: Final = (
    "a name has at most 64 lowercase letters, digits, dots, dashes and underscores, and begins "
    "with a letter or a digit"
)

FOLDER: Final = "finetune"
ADAPTER_FILE: Final = "adapter.gguf"
MANIFEST_FILE: Final = "manifest.json"
PEFT_FOLDER: Final = "peft"
"""The adapter in the format of peft."""

MERGED_FOLDER: Final = "merged"
"""The base model with the adapter merged into it, if the base is not the embedded model."""

_FROZEN: Final = ConfigDict(frozen=True, extra="ignore")


class Base(BaseModel):
    """The model that an adapter changes. `sha256` is that of its weights."""

    model_config = _FROZEN
    kind: Literal["embedded", "folder"]
    name: str
    sha256: str


class Data(BaseModel):
    """The file of examples that an adapter was trained on."""

    model_config = _FROZEN
    name: str
    sha256: str
    examples: int
    held_out: int
    held_out_sha256: str | None = None


class Hyperparameters(BaseModel):
    """How the training went through the examples."""

    model_config = _FROZEN
    epochs: int
    batch_size: int
    learning_rate: float
    rank: int
    alpha: int
    max_tokens: int
    seed: int
    system: str


class Manifest(BaseModel):
    """What is known about an adapter; written next to it."""

    model_config = _FROZEN
    version: int = 1
    name: str
    created_at: str
    base: Base
    data: Data
    hyperparameters: Hyperparameters
    scores: dict[str, dict[str, float]]
    """By model: `base` and `adapter`."""
    adapter_sha256: str | None
    """None: the base is not the embedded model, so there is no file for its server."""
    libraries: dict[str, str]
    people: list[str] = Field(default_factory=list)
    """The users whose words are in the data, if its export names them."""


def adapters_folder(home: Path) -> Path:
    """The folder with one folder per adapter."""
    return home / FOLDER / "adapters"


def adapter_folder(home: Path, name: str) -> Path:
    """The folder of an adapter, whether or not it exists."""
    return adapters_folder(home) / name


def manifests(home: Path) -> list[Manifest]:
    """All adapters, by name. Folders without a readable manifest are left out."""
    found = (manifest_of(folder) for folder in sorted(adapters_folder(home).glob("*")))
    return [manifest for manifest in found if manifest is not None]


def manifest_of(folder: Path) -> Manifest | None:
    """The manifest in an adapter's folder; None if it is missing or unreadable."""
    return read_json(folder / MANIFEST_FILE, Manifest)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest of an adapter, durably."""
    write_json(folder / MANIFEST_FILE, manifest)


def find(home: Path, name: str) -> Manifest:
    """The manifest of an adapter.

    Raises:
        UnknownAdapter: there is none with this name.
    """
    manifest = manifest_of(adapter_folder(home, name)) if NAME.fullmatch(name) else None
    if manifest is None:
        known = ", ".join(each.name for each in manifests(home))
        advice = f"known: {known}" if known else "train one with `threadwax finetune local`"
        raise UnknownAdapter(f"there is no adapter {name!r}; {advice}")
    return manifest


def remove(home: Path, name: str) -> None:
    """Removes an adapter and its manifest.

    Raises:
        UnknownAdapter: there is none with this name.
    """
    find(home, name)
    folder = adapter_folder(home, name)
    (folder / MANIFEST_FILE).unlink()  # first, so that half an adapter is never listed
    shutil.rmtree(folder)
    sync_folder(folder.parent)
