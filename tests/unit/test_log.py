"""A line of the log is JSON, whatever is in it."""

import json
from typing import Any

import pytest

from shared.log import _json


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("caf\u00e9", "caf\u00e9"),
        (3, 3),
        (("a", None), ["a", None]),
        (ValueError("why"), "ValueError('why')"),
        ("half \ud83d a character", "half \ud83d a character"),
        (b"\xff no text", "b'\\xff no text'"),
    ],
)
def test_whatever_is_logged_is_one_line_of_json(value: Any, written: Any) -> None:
    """Also half a character, or bytes, that the quick serialiser refuses."""
    line = _json({"event": "posted", "value": value})
    assert b"\n" not in line
    assert json.loads(line) == {"event": "posted", "value": written}
