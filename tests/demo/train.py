"""Trains the demo model's adapter: `make demo-adapter`.

Generates the conversations, and trains with the same pipeline as `threadwax finetune local`.
Everything is kept in build/demo.
"""

import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from dataflow.model.dialects import DEMO_SYSTEM_PROMPT
from ops.demo import ADAPTER, MANIFEST
from ops.finetune.adapters import ADAPTER_FILE, MANIFEST_FILE, Hyperparameters, adapter_folder
from ops.finetune.local import Request, train
from tests.demo.chats import Message, learned_chats

FOLDER: Final = Path("build/demo")
SEED: Final = 135
CHATS: Final = 420
EPOCHS: Final = 2
RANK: Final = 8
LEARNING_RATE: Final = 1e-3
NAME: Final = "demo"


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    data = FOLDER / "chats.jsonl"
    data.write_text("".join(lines_of(learned_chats(SEED, CHATS))))
    chosen = Hyperparameters(
        epochs=EPOCHS, batch_size=8, learning_rate=LEARNING_RATE, rank=RANK, alpha=2 * RANK,
        max_tokens=1024, seed=SEED, system=DEMO_SYSTEM_PROMPT,
    )  # fmt: skip
    train(FOLDER, Request(NAME, data, chosen, held_out_share=0.03, replace=True, restart=True))
    trained = adapter_folder(FOLDER, NAME)
    shutil.copy(trained / ADAPTER_FILE, ADAPTER)
    shutil.copy(trained / MANIFEST_FILE, MANIFEST)
    sys.stdout.write(f"{ADAPTER}: {ADAPTER.stat().st_size:,} bytes\n")


def lines_of(chats: Iterable[tuple[Message, ...]]) -> Iterator[str]:
    """The lines of the file to train on."""
    return (json.dumps({"messages": chat}) + "\n" for chat in chats)


if __name__ == "__main__":
    main()
