"""The picture in the README shows what people see today."""

import re
from pathlib import Path

from tests.session import RECORDING, record


def lines_of(recording: Path) -> set[str]:
    """The lines of text. The parts become ready in any order."""
    rows: dict[str, str] = {}
    for height, text in re.findall(
        r'<text [^>]*y="([0-9.]+)"[^>]*>([^<]*)</text>', recording.read_text()
    ):
        rows[height] = rows.get(height, "") + text
    return set(rows.values())


async def test_the_recorded_session_is_the_one_in_the_readme(tmp_path: Path) -> None:
    """If it is not, `make session` records it again."""
    await record(tmp_path / "session.svg")
    assert lines_of(tmp_path / "session.svg") == lines_of(RECORDING)
