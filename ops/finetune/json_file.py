"""Small JSON files in the folders of adapters and runs: written durably, read if they are whole."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from shared.private_file import private_file, private_text

Kind = TypeVar("Kind", bound=BaseModel)


def write_json(file: Path, value: BaseModel) -> None:
    """Writes a file; returns when it would survive a power cut."""
    private_file(file, value.model_dump_json(indent=2))


def read_json(file: Path, kind: type[Kind]) -> Kind | None:
    """What is in a file; None if it is missing or unreadable."""
    text = private_text(file)
    try:
        return None if text is None else kind.model_validate_json(text)
    except ValidationError:
        return None
