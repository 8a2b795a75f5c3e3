"""Which adapter the embedded server is to load.

Imports nothing large: `up` asks before it starts anything.
"""

from pathlib import Path

from dataflow.model.dialects import DEMO_SYSTEM_PROMPT
from ops import demo
from ops.finetune import adapters
from ops.finetune.base import sha256_of
from ops.finetune.errors import BadInput, UnknownAdapter
from shared.model_settings import BASE, LOCAL
from shared.settings import Settings


def adapter_file(settings: Settings, weights: Path) -> Path | None:
    """The file of the adapter that THREADWAX_MODEL names, by default the demo model's own.

    None for `local:base`, and if the demo model has no adapter for these weights.

    Raises:
        UnknownAdapter: there is none with this name.
        BadInput: it was trained on other weights, or its file is damaged.
    """
    if settings.adapter is None:
        return demo.adapter_of(weights)
    return None if settings.adapter == BASE else _file_of(settings, settings.adapter, weights)


def adapters_of_experiments(settings: Settings, weights: Path) -> dict[str, Path]:
    """The files of the adapters that experiments name, by name; raises as `adapter_file`."""
    named = [one.model for one in settings.experiments if one.model and one.base_url is None]
    return {
        name: _file_of(settings, name, weights)
        for name in (model.removeprefix(LOCAL) for model in named if model.startswith(LOCAL))
        if name != BASE
    }


def _file_of(settings: Settings, name: str, weights: Path) -> Path:
    manifest = adapters.find(settings.home, name)
    again = "train it again, or choose another THREADWAX_MODEL"
    folder = adapters.adapter_folder(settings.home, manifest.name)
    if manifest.base.kind != "embedded":
        raise BadInput(
            f"the adapter {manifest.name} belongs to {manifest.base.name}, which the embedded "
            f"server does not have: run `threadwax model --hf {folder / adapters.MERGED_FOLDER}`"
        )
    if manifest.base.sha256 != sha256_of(weights):
        raise BadInput(f"the adapter {manifest.name} was trained on other weights: {again}")
    file = folder / adapters.ADAPTER_FILE
    if not file.is_file() or sha256_of(file) != manifest.adapter_sha256:
        raise BadInput(f"{file} is missing or damaged: {again}")
    return file


def adapter_fault(settings: Settings) -> str:
    """What is wrong with the name of the adapter; empty if nothing is."""
    if settings.adapter is not None and settings.adapter != BASE:
        try:
            adapters.find(settings.home, settings.adapter)
        except UnknownAdapter as error:
            return str(error)
    return ""


def system_prompt_note(settings: Settings) -> str:
    """Says if an adapter was trained with another system prompt; empty otherwise."""
    if settings.adapter is None or settings.adapter == BASE:
        return ""
    learned = adapters.find(settings.home, settings.adapter).hyperparameters.system
    if learned == (settings.system_prompt or DEMO_SYSTEM_PROMPT):
        return ""
    return (
        f"the adapter {settings.adapter} was trained with another system prompt and may answer "
        f"worse with this one; to use its own, set THREADWAX_SYSTEM_PROMPT={learned!r}"
    )
