"""A pytest plugin that removes the safeguard named by the environment variable `MUTANT`."""

import os
from typing import Any

import pytest

from tests.chaos.mutants import MUTANTS, program_of
from tests.running import Running


def pytest_configure() -> None:
    name = os.environ["MUTANT"]
    mutant = MUTANTS[name]
    patch = pytest.MonkeyPatch()
    if mutant.in_processes:
        made = Running.__init__

        def make(self: Running, *command: str, **fields: Any) -> None:
            made(self, *program_of(name, *command), **fields)

        patch.setattr(Running, "__init__", make)
    else:
        mutant.mutate(patch)
