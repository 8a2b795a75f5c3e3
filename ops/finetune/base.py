"""The weights to train on: those of the embedded model, or a folder in Hugging Face's format.

Never uses the network.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import click

from ops.demo_weights import weights_path
from ops.finetune.adapters import FOLDER
from ops.finetune.errors import BadInput
from shared.private_file import make_folder, sync_folder

_CHUNK_BYTES: Final = 1 << 20
_DONE: Final = "converted.json"
"""Written last, so that an interrupted conversion starts over."""

_WEIGHTS: Final = ("*.safetensors", "*.bin")


@dataclass(frozen=True, slots=True)
class BaseWeights:
    """A model in Hugging Face's format. `sha256` is that of the original weights."""

    folder: Path
    kind: Literal["embedded", "folder"]
    name: str
    sha256: str


def embedded_base(home: Path) -> BaseWeights:
    """The embedded model, converted once into a folder in the data folder.

    Takes half a minute and 1.5 GB of memory the first time. Afterwards it reads 100 MB to compare.

    Raises:
        NoWeights: its weights are not installed.
    """
    weights = weights_path()
    digest = sha256_of(weights)
    folder = home / FOLDER / "bases" / digest[:16]
    if not (folder / _DONE).exists():
        click.echo("converting the embedded model's weights, once: about a minute ...", err=True)
        _convert(weights, folder, digest)
    return BaseWeights(folder, "embedded", weights.stem, digest)


def base_in(folder: Path) -> BaseWeights:
    """A model in a folder, such as `save_pretrained` of transformers writes.

    Raises:
        BadInput: the folder holds no model.
    """
    digests = "".join(sha256_of(file) for file in check_folder(folder))
    digest = hashlib.sha256(digests.encode()).hexdigest()
    return BaseWeights(folder.resolve(), "folder", folder.resolve().name, digest)


def check_folder(folder: Path) -> list[Path]:
    """The files of the weights in a folder.

    Raises:
        BadInput: the folder holds no model, or no tokenizer.
    """
    weights = sorted(file for pattern in _WEIGHTS for file in folder.glob(pattern))
    tokenizers = [*folder.glob("tokenizer*"), *folder.glob("vocab*")]
    if not (folder / "config.json").is_file() or not weights or not tokenizers:
        raise BadInput(
            f"{folder} holds no model: name a folder with config.json, *.safetensors and a "
            "tokenizer, such as save_pretrained of transformers writes"
        )
    return weights


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file's contents."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _convert(weights: Path, folder: Path, digest: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    make_folder(folder.parent)
    unfinished = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer = AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name)
    loaded = AutoModelForCausalLM.from_pretrained(
        weights.parent, gguf_file=weights.name, dtype="float32"
    )
    config = loaded.config
    if hasattr(config, "quantization_config"):
        # save_pretrained refuses a quantized model, and these weights no longer are.
        del config.quantization_config
    model = type(loaded)(config)
    model.load_state_dict(loaded.state_dict(), strict=True)
    model.save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    (unfinished / _DONE).write_text(json.dumps({"sha256": digest, "from": weights.name}))
    unfinished.rename(folder)
    sync_folder(folder.parent)
