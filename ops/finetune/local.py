"""`threadwax finetune local`: from a file of conversations to an adapter that can be served.

An adapter appears in the list as a whole or not at all.
"""

import importlib.metadata
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ops.finetune import adapters, extra
from ops.finetune.adapters import Base, Data, Hyperparameters, Manifest
from ops.finetune.base import BaseWeights, base_in, embedded_base, sha256_of
from ops.finetune.chat_file import ChatFile, Example, people_of, read_chat_file
from ops.finetune.errors import BadInput
from ops.finetune.run_folder import Run, RunFolder
from ops.finetune.split import Split, split
from shared.lock import locked
from shared.model_settings import BASE

if TYPE_CHECKING:
    from ops.finetune.encoding import Encoded
    from ops.finetune.scores import Scores

EXAMPLES_AT_LEAST: Final = 10
"""OpenAI's service has the same minimum."""

LIBRARIES: Final = ("torch", "transformers", "peft")


@dataclass(frozen=True, slots=True)
class Request:
    """What to train. Without `base`, the embedded model; without `held_out`, a share of `data`."""

    name: str
    data: Path
    hyperparameters: Hyperparameters
    base: Path | None = None
    held_out: Path | None = None
    held_out_share: float = 0.1
    half: bool = True
    threads: int | None = None
    replace: bool = False
    restart: bool = False


@dataclass(frozen=True, slots=True)
class _Material:
    """The data of a training."""

    file: ChatFile
    held_out_file: ChatFile | None
    parts: Split
    people: tuple[str, ...]

    def summary(self, trained: int, asked: int) -> Data:
        return Data(
            name=self.file.path.name,
            sha256=self.file.sha256,
            examples=trained,
            held_out=asked,
            held_out_sha256=self.held_out_file.sha256 if self.held_out_file else None,
        )


def train(home: Path, request: Request) -> Manifest:
    """Trains, evaluates, converts and stores an adapter.

    Raises:
        BadInput: the request, its files or the base model do not allow it.
        NoWeights: the embedded model is not installed.
        NotInstalled: the extra is missing.
        AlreadyRunning: an adapter of this name is being trained.
        Interrupted: a person stopped it.
    """
    extra.require()
    if request.name == BASE:
        raise BadInput(f"{BASE} is the name of the model without an adapter: choose another --name")
    if not adapters.NAME.fullmatch(request.name):
        raise BadInput(f"{request.name!r} cannot be used: {adapters.NAME_IN_WORDS}")
    target = adapters.adapter_folder(home, request.name)
    if adapters.manifest_of(target) is not None and not request.replace:
        raise BadInput(
            f"the adapter {request.name} exists: choose another --name, or replace it with "
            "--replace"
        )
    material = _material(request)
    folder = RunFolder(home, request.name)
    held = locked(folder.lock_file, f"the training of {request.name}")
    try:
        extra.import_quietly()
        base = base_in(request.base) if request.base else embedded_base(home)
        manifest = _trained(folder, request, base, material)
        folder.publish(target)
    finally:
        os.close(held)
    return manifest


def _material(request: Request) -> _Material:
    data = read_chat_file(request.data)
    people = people_of(request.data)
    if request.held_out is None:
        material = _Material(data, None, split(data.examples, request.held_out_share), people)
    else:
        other = read_chat_file(request.held_out)
        asked = {example.digest for example in other.examples}
        both = [str(example.line) for example in data.examples if example.digest in asked]
        if both:
            raise BadInput(
                f"{data.path} contains conversations of {other.path}, so the score would only "
                f"show what was learned by heart: remove line {', '.join(both)}"
            )
        material = _Material(data, other, Split(data.examples, other.examples), people)
    if len(material.parts.trained) < EXAMPLES_AT_LEAST:
        raise BadInput(
            f"{len(material.parts.trained)} examples are left to train on, but "
            f"{EXAMPLES_AT_LEAST} are the least; 50 to 100 are a good beginning"
        )
    if not material.parts.held_out:
        raise BadInput(
            "no example is held out, so nothing would show what was learned: raise "
            "--held-out-share, or name a file with --held-out"
        )
    return material


def _trained(
    folder: RunFolder, request: Request, base: BaseWeights, material: _Material
) -> Manifest:
    """Trains in the folder, and leaves the finished adapter there."""
    from ops.finetune import training

    chosen = request.hyperparameters
    run = Run(
        base_sha256=base.sha256,
        data_sha256=material.file.sha256,
        held_out_sha256=material.held_out_file.sha256 if material.held_out_file else None,
        held_out_share=request.held_out_share,
        hyperparameters=chosen,
    )
    if folder.open(run, restart=request.restart):
        click.echo(f"continuing the interrupted training of {request.name}", err=True)
    training.use_threads(request.threads)
    loaded = training.loaded(base.folder)
    learned = _fitting(loaded.tokenizer, material.parts.trained, chosen)
    asked = _fitting(loaded.tokenizer, material.parts.held_out, chosen)
    click.echo(f"{len(learned)} examples to train on, {len(asked)} held out", err=True)
    model = training.trained(loaded, learned, chosen, folder.path, request.name)
    scores = _scores(model, loaded.tokenizer, asked, chosen.system)
    result = folder.new_result()
    model.save_pretrained(result / adapters.PEFT_FOLDER)
    loaded.tokenizer.save_pretrained(result / adapters.PEFT_FOLDER)
    manifest = Manifest(
        name=request.name,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        base=Base(kind=base.kind, name=base.name, sha256=base.sha256),
        data=material.summary(len(learned), len(asked)),
        hyperparameters=chosen,
        scores={name: found.as_dict() for name, found in scores.items()},
        adapter_sha256=_converted(result, request, base, model, loaded.tokenizer),
        libraries={name: importlib.metadata.version(name) for name in LIBRARIES},
        people=list(material.people),
    )
    adapters.write_manifest(result, manifest)
    return manifest


def _fitting(
    tokenizer: Any, examples: tuple[Example, ...], chosen: Hyperparameters
) -> "list[Encoded]":
    """The examples in tokens, without those that are too long, which are named."""
    from ops.finetune.encoding import encoded

    found = [encoded(example, tokenizer, chosen.system) for example in examples]
    long = [str(each.example.line) for each in found if len(each.tokens) > chosen.max_tokens]
    if long:
        click.echo(
            f"left out, because they are longer than {chosen.max_tokens} tokens "
            f"(--max-tokens): line {', '.join(long)}",
            err=True,
        )
    fitting = [each for each in found if len(each.tokens) <= chosen.max_tokens]
    if not fitting:
        raise BadInput(f"no example has at most {chosen.max_tokens} tokens: raise --max-tokens")
    return fitting


def _scores(model: Any, tokenizer: Any, asked: "list[Encoded]", system: str) -> "dict[str, Scores]":
    """The scores of the base model and of the adapter, from the same questions."""
    from ops.finetune.evaluation import evaluated

    with click.progressbar(
        length=2 * len(asked), label="asking the held-out questions", file=sys.stderr
    ) as bar:

        def answered() -> None:
            bar.update(1)

        with model.disable_adapter():
            base = evaluated(model, tokenizer, asked, system, answered)
        return {"base": base, "adapter": evaluated(model, tokenizer, asked, system, answered)}


def _converted(
    result: Path, request: Request, base: BaseWeights, model: Any, tokenizer: Any
) -> str | None:
    """Writes the file for the embedded server and returns its hash.

    Another base model is stored as a whole, with the adapter merged into it; returns None.
    """
    if base.kind != "embedded":
        merged = result / adapters.MERGED_FOLDER
        model.merge_and_unload().save_pretrained(merged)
        tokenizer.save_pretrained(merged)
        return None
    from ops.finetune.adapter_gguf import write_adapter

    file = result / adapters.ADAPTER_FILE
    write_adapter(
        result / adapters.PEFT_FOLDER,
        file,
        config=model.config,
        name=request.name,
        half=request.half,
    )
    return sha256_of(file)
