"""The optional extra `export`: Parquet files."""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ops.cli import threadwax
from shared.messages import Ask, Place
from tests.recorded import Streams, opened, record

if importlib.util.find_spec("pyarrow") is None:
    pytest.skip(
        "PARQUET IS NOT TESTED: pyarrow is not installed; `make test-export` does both",
        allow_module_level=True,
    )

TERMINAL = Place(platform="terminal", channel="terminal", audience="direct")


def test_a_parquet_file_has_the_rows_of_the_table(tmp_path: Path, database_url: str) -> None:
    """It is the same, byte for byte, each time."""
    parquet = importlib.import_module("pyarrow.parquet")
    streams = Streams()
    ada: dict[str, Any] = {"user": "terminal:ada", "place": TERMINAL}
    for number in range(3):
        streams.event(Ask, f"a-{number}", text="hi", **ada)
        streams.reply(f"a-{number}", prompt_text="hi", **ada)
    engine = opened(database_url)
    record(engine, *streams.messages)
    engine.dispose()
    contents = []
    for name in ("one", "other"):
        out = tmp_path / name
        command = ["export", "--format", "parquet", "--out", str(out)]
        done = CliRunner().invoke(threadwax, command, env={"DATABASE_URL": database_url})
        assert done.exit_code == 0, done.stderr
        contents.append(out.read_bytes())
    assert contents[0] == contents[1]
    table = parquet.read_table(tmp_path / "one").to_pylist()
    assert [row["prompt_id"] for row in table] == ["a-0", "a-1", "a-2"]
    assert {row["question"] for row in table} == {"hi"}
    assert [row["files"] for row in table] == [0, 0, 0]
