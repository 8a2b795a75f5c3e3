"""The search of `threadwax forget --verify` finds a marker in each form that can be stored."""

import base64
import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ops.forget.markers import search, spellings

MARKER = 'Krähenfuß "7391"'


@pytest.mark.parametrize("offset", range(3))
@pytest.mark.parametrize("after", range(3))
def test_base64_is_found_at_any_offset(tmp_path: Path, offset: int, after: int) -> None:
    whole = b"x" * offset + MARKER.encode() + b"y" * after
    (tmp_path / "file").write_bytes(b"{" + base64.b64encode(whole) + b"}")
    assert not search(tmp_path, [MARKER]).clean


@pytest.mark.parametrize(
    "stored",
    [
        MARKER.encode(),
        MARKER.encode("utf-16-le"),
        json.dumps(MARKER).encode(),
        json.dumps(MARKER, ensure_ascii=False).encode(),
        json.dumps(MARKER).replace("\\u00e4", "\\u00E4").replace("\\u00df", "\\u00DF").encode(),
        base64.urlsafe_b64encode(MARKER.encode()),
    ],
)
def test_each_spelling_is_found(tmp_path: Path, stored: bytes) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"\0" * 5000 + stored)
    (tmp_path / "other").write_bytes(b"nothing")
    found = search(tmp_path, [MARKER, "absent"])
    assert found.matches == {tmp_path / "deep" / "file": [MARKER]}
    assert len(found.read) == 2


@pytest.mark.parametrize("log", [False, True])
def test_a_marker_across_two_pages_is_found(tmp_path: Path, *, log: bool) -> None:
    """A long text lies on overflow pages with 4,092 bytes of it each."""
    divided = 0
    for after in range(0, 4_092, 15):
        path = tmp_path / f"{after}.sqlite"
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            if log:
                connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE texts (text)")
            text = "x" * 12_000 + MARKER + "y" * after
            connection.execute("INSERT INTO texts VALUES (?)", (text,))
            files = [file.read_bytes() for file in tmp_path.iterdir()]
            divided += not any(MARKER.encode() in file for file in files)
            assert not search(tmp_path, [MARKER]).clean
        path.unlink()
    assert divided


def test_other_bytes_are_not_found(tmp_path: Path) -> None:
    random_ = random.Random(1)
    for number in range(20):
        (tmp_path / str(number)).write_bytes(random_.randbytes(100_000))
    assert search(tmp_path, [MARKER]).clean
    assert all(len(form) >= 4 for form in spellings("four"))


def test_a_deleted_row_is_found_in_its_free_page(tmp_path: Path) -> None:
    """This is what has to be cleaned, and what the search must not miss."""
    path = tmp_path / "file.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("CREATE TABLE texts (text)")
        connection.execute("INSERT INTO texts VALUES (?)", (MARKER * 1000,))
        connection.execute("DELETE FROM texts")
        assert not search(tmp_path, [MARKER]).clean
        connection.execute("VACUUM")
        assert search(tmp_path, [MARKER]).clean
