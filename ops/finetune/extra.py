"""The optional extra `finetune`: whether it is installed, and how it is imported."""

import importlib.util
import os
import warnings
from typing import Final

from ops.finetune.errors import NotInstalled

PACKAGES: Final = ("torch", "transformers", "peft", "gguf", "accelerate")
SERVING: Final = ("torch", "transformers", "peft", "fastapi", "uvicorn")

INSTALL: Final = (
    "run `make setup-finetune` in the checkout, or install threadwax[finetune] (about 900 MB "
    "with a CPU build of torch)"
)

QUIET: Final = {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # Threads that wait sleep: on shared cores, spinning ones took six times the CPU time.
    "OMP_WAIT_POLICY": "PASSIVE",
}
"""Environment variables for the libraries, to be set before their import."""


def require(packages: tuple[str, ...] = PACKAGES) -> None:
    """Checks that packages of the extra are installed.

    Raises:
        NotInstalled: one is missing.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise NotInstalled(f"this needs the extra `finetune` ({missing[0]} is missing): {INSTALL}")


def import_quietly() -> None:
    """Imports transformers, which then uses no network and prints only errors; takes seconds."""
    os.environ.update(QUIET)
    import transformers

    warnings.simplefilter("ignore", FutureWarning)  # of peft, about transformers
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
