"""The optional extra `export`: Parquet files, and redaction without network or language model."""

import hashlib
import importlib
import importlib.util
import json
import socket
from pathlib import Path
from typing import Any, NoReturn

import pytest
from click.testing import CliRunner, Result

from ops.cli import threadwax
from ops.export.redacted import replaced, without_overlaps
from ops.export.redaction import redaction
from ops.export.table import COLUMNS
from shared.messages import Ask, Place, Rate
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
MAIL = "mail ada@example.org"
REDACTED = {
    MAIL: "mail <EMAIL_ADDRESS>",
    "call +41 44 668 18 00 today": "call <PHONE_NUMBER> today",
    "or (212) 555-0187": "or <PHONE_NUMBER>",
    "card 4012-8888-8888-1881": "card <CREDIT_CARD>",
    "account GB33BUKB20201555555555": "account <IBAN_CODE>",
    "host 192.168.7.4 or 2001:db8::1": "host <IP_ADDRESS> or <IP_ADDRESS>",
    "card 00:1b:44:11:3a:b7": "card <MAC_ADDRESS>",
    "see https://intranet.example.org/ada?id=7": "see <URL>",
    "to 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa": "to <CRYPTO>",
    "number 536-90-4399": "number <US_SSN>",
}
KEPT = (
    "Ada Lovelace lives at 12 St James's Square in London.",
    "On 2026-11-26 at 12:00:05, 1,234,567 people came; 3.14159265 of 10000000.",
    "run main.py, then os.path.join and std::vector",
    "card 4012-8888-8888-1882",  # a wrong check digit
)


def _exported(database_url: str, out: Path, *options: str) -> Result:
    command = ["export", "--out", str(out), *options]
    done = CliRunner().invoke(threadwax, command, env={"DATABASE_URL": database_url})
    assert done.exit_code == 0, done.stderr
    return done


def _recorded(database_url: str, **words: str) -> None:
    """Three turns of one person; the last one is rated down, and corrected."""
    streams = Streams()
    ada: dict[str, Any] = {"user": "terminal:ada", "place": TERMINAL}
    for number in range(3):
        streams.event(Ask, f"a-{number}", text=words["question"], **ada, persona=words["persona"])
        streams.reply(f"a-{number}", prompt_text=words["question"], text=words["answer"], **ada)
    streams.event(
        Rate, "r-1", **ada, prompt_id="a-2", thumb="down", correction=words["correction"],
        reason=words["reason"],
    )  # fmt: skip
    engine = opened(database_url)
    record(engine, *streams.messages)
    engine.dispose()


def test_addresses_and_numbers_are_found_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is downloaded: the list of top-level domains is in the package. Names stay."""

    def no_network(*_: object, **__: object) -> NoReturn:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(socket.socket, "connect", no_network)
    find = redaction().find
    expected = REDACTED | dict(zip(KEPT, KEPT, strict=True))
    assert {text: replaced(text, without_overlaps(find(text))) for text in expected} == expected


@pytest.mark.parametrize("format_", ["chat", "dpo", "csv", "parquet"])
def test_a_redacted_file_has_no_address_and_is_the_same_each_time(
    format_: str, tmp_path: Path, database_url: str
) -> None:
    """Whatever the format, and in whichever text it was. The manifest says what was replaced."""
    words = {name: f"{MAIL}, the {name}" for name in ("question", "answer", "persona", "reason",
                                                       "correction")}  # fmt: skip
    _recorded(database_url, **words)
    contents = []
    for name in ("one", "other"):
        done = _exported(database_url, tmp_path / name, "--format", format_, "--redact")
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]
    assert b"ada@example.org" not in contents[0]
    manifest = json.loads((tmp_path / "one.manifest.json").read_text())
    assert manifest["sha256"] == hashlib.sha256(contents[0]).hexdigest()
    # The first two turns have three texts each, and the last one has five.
    count = 5 if format_ == "dpo" else 11
    assert manifest["redaction"]["replaced"] == {"EMAIL_ADDRESS": count}
    assert manifest["redaction"]["by"].startswith("presidio-analyzer 2.")
    assert "PERSON" not in manifest["redaction"]["kinds"]
    assert f"redacted: {count} EMAIL_ADDRESS; names stay" in done.stdout
    if format_ == "parquet":
        table = importlib.import_module("pyarrow.parquet").read_table(tmp_path / "one").to_pylist()
        for column in ("question", "answer", "persona", "reason", "correction"):
            assert table[2][column] == f"mail <EMAIL_ADDRESS>, the {column}"


def test_a_parquet_file_has_the_rows_of_the_table(tmp_path: Path, database_url: str) -> None:
    """It is the same, byte for byte, each time; its columns have the documented types."""
    _recorded(database_url, question="hi", answer="yes", persona="Kind.", reason="no",
              correction="maybe")  # fmt: skip
    contents = []
    for name in ("one", "other"):
        _exported(database_url, tmp_path / name, "--format", "parquet")
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]
    table = importlib.import_module("pyarrow.parquet").read_table(tmp_path / "one")
    types = {str: "string", int: "int64"}
    assert {field.name: str(field.type) for field in table.schema} == {
        name: types[kind] for name, kind in COLUMNS.items()
    }
    rows = table.to_pylist()
    assert [row["prompt_id"] for row in rows] == ["a-0", "a-1", "a-2"]
    assert {row["question"] for row in rows} == {"hi"}
    assert [row["files"] for row in rows] == [0, 0, 0]
    assert (rows[2]["thumb"], rows[2]["correction"]) == ("down", "maybe")
    assert json.loads((tmp_path / "one.manifest.json").read_text())["redaction"] is None
