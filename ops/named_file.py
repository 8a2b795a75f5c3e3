"""The type of an option that names a file, which cannot be standard input or output."""

from pathlib import Path
from typing import Any

import click
from typing_extensions import override


class NamedFile(click.Path):
    """A path that is not a folder; its value is a `Path`."""

    def __init__(self, *, exists: bool = False) -> None:
        super().__init__(path_type=Path, dir_okay=False, exists=exists)

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        # Otherwise it would name a file in the current folder, without anybody noticing.
        if str(value) == "-":
            self.fail("- is not standard input or output here: name a file", param, ctx)
        return super().convert(value, param, ctx)
