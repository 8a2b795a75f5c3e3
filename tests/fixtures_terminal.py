"""Shared by the tests of the terminal: a chat as a process, and its environment."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.terminals import Typed

PROGRAM = (
    "import sys; from bots.terminal.run import main; from shared.settings import Settings; "
    "sys.exit(main(Settings(), sys.argv[1]))"
)


@pytest.fixture
def chat_environment(nats: Any, tmp_path: Path) -> dict[str, str]:
    """The environment variables of a chat: the test's NATS server and data folder, and a model."""
    return {
        **os.environ,
        "NATS_URL": nats.url,
        "THREADWAX_HOME": str(tmp_path / "home"),
        "OPENAI_API_KEY": "test",
        "TERM": "xterm-256color",
    }


def chat(environment: dict[str, str], user: str = "ada", *, set_up: str = "", **how: Any) -> Typed:
    """A chat on a pseudo-terminal; `set_up` is Python code that runs before it."""
    return Typed([sys.executable, "-c", f"{set_up}\n{PROGRAM}", user], environment, **how)
