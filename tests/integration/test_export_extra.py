"""The optional extra `export`: Parquet files, and redaction without network or language model."""

import importlib
import importlib.util
import socket
from pathlib import Path
from typing import Any, NoReturn

import pytest
from click.testing import CliRunner

from ops.cli import threadwax
from ops.export.redaction import redactor
from shared.messages import Ask, Place
from tests.recorded import Streams, opened, record

MISSING = [
    name for name in ("pyarrow", "presidio_analyzer") if importlib.util.find_spec(name) is None
]
if MISSING:
    pytest.skip(
        f"PARQUET AND REDACTION ARE NOT TESTED: {MISSING[0]} is not installed; "
        "`make test-export` does both",
        allow_module_level=True,
    )

TERMINAL = Place(platform="terminal", channel="terminal", audience="direct")
PRIVATE = {
    "mail ada@example.org": "mail <EMAIL_ADDRESS>",
    "call +41 44 668 18 00": "call <PHONE_NUMBER>",
    "card 4012-8888-8888-1881": "card <CREDIT_CARD>",
    "account GB33BUKB20201555555555": "account <IBAN_CODE>",
    "host 192.168.7.4": "host <IP_ADDRESS>",
    "see https://intranet.example.org/ada?id=7": "see <URL>",
    "It is 2026, and 12 people came.": "It is 2026, and 12 people came.",
}


def test_private_numbers_and_addresses_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is downloaded: the list of top-level domains is in the package."""

    def no_network(*_: object, **__: object) -> NoReturn:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(socket.socket, "connect", no_network)
    redact = redactor()
    assert {text: redact(text) for text in PRIVATE} == PRIVATE


def test_a_parquet_file_has_the_rows_of_the_table(tmp_path: Path, database_url: str) -> None:
    pq = importlib.import_module("pyarrow.parquet")
    streams = Streams()
    ada: dict[str, Any] = {"user": "terminal:ada", "place": TERMINAL}
    for number in range(3):
        streams.event(Ask, f"a-{number}", text="mail ada@example.org", **ada)
        streams.reply(f"a-{number}", prompt_text="mail ada@example.org", **ada)
    engine = opened(database_url)
    record(engine, *streams.messages)
    engine.dispose()
    contents = []
    for name in ("one", "other"):
        out = tmp_path / name
        command = ["export", "--format", "parquet", "--redact", "--out", str(out)]
        done = CliRunner().invoke(threadwax, command, env={"DATABASE_URL": database_url})
        assert done.exit_code == 0, done.stderr
        contents.append(out.read_bytes())
    assert contents[0] == contents[1]
    table = pq.read_table(tmp_path / "one").to_pylist()
    assert [row["prompt_id"] for row in table] == ["a-0", "a-1", "a-2"]
    assert {row["question"] for row in table} == {"mail <EMAIL_ADDRESS>"}
    assert [row["files"] for row in table] == [0, 0, 0]
