"""`threadwax model --hf FOLDER`: serves a Hugging Face model with `transformers serve`.

The server is OpenAI-compatible and listens on loopback only. It has no key, so anyone who can log
in to this machine can use it.
"""

import os
import sys
from pathlib import Path
from typing import NoReturn

from ops.finetune import extra
from ops.finetune.base import check_folder
from ops.finetune.errors import BadInput, NotInstalled
from ops.ports import HOST, free_port
from shared import lifecycle


def main(folder: Path, *, port: int) -> NoReturn:
    """Becomes the server, which a signal stops, or exits if it cannot start."""
    try:
        extra.require(extra.SERVING)
        check_folder(folder)
    except (BadInput, NotInstalled) as error:
        lifecycle.say(str(error))
        sys.exit(lifecycle.CANNOT_START)
    model = str(folder.resolve())
    port = port or free_port()
    lifecycle.say(
        "loading; once it says that Uvicorn is running, use it with\n"
        f"OPENAI_BASE_URL=http://{HOST}:{port}/v1 THREADWAX_MODEL={model} threadwax up"
    )
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", model]
    options = ["--host", HOST, "--port", str(port)]
    os.execve(sys.executable, [*command, *options], {**os.environ, **extra.QUIET})  # noqa: S606
