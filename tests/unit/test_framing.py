"""Responses in every framing that endpoints and proxies send."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.model.framing import DONE, DocumentDecoder, Unframed


def documents(*pieces: bytes) -> list[str]:
    """All JSON documents of a response."""
    decoder = DocumentDecoder()
    return [d for piece in pieces for d in decoder.add(piece)] + decoder.end()


A, B = '{"a": 1}', '{"b": "\u2028 é"}'


@pytest.mark.parametrize(
    "text",
    [
        f"data: {A}\n\ndata: {B}\n\ndata: {DONE}\n\n",
        f"data:{A}\r\n\r\ndata:{B}\r\n\r\ndata:{DONE}\r\n\r\n",
        f"data: {A}\r\rdata: {B}\r\rdata: {DONE}\r\r",
        f"\ufeffdata: {A}\n\ndata: {B}\n\ndata: {DONE}\n\n",
        (f"\n\n: a comment\n\nretry: 3000\n\nid: 7\n\ndata: {A}\n\n\n\n: another\ndata: {B}\n\n"
        f"event: done\n\ndata:\n\ndata: {DONE}\n\n"),
        f"event: message\nid: 1\ndata: {A}\n\nid: 2\ndata: {B}\nevent: message\n\n\ndata: {DONE}\n",
        f"data: {A}\ndata: {B}\ndata: {DONE}\n",
        f"data: {A}\n\ndata: {B}\n\ndata: {DONE}",
        f"unknown: field\nnothing\ndata: {A}\n\ndata: {B}\n\ndata: {DONE}\n\n",
    ],
    ids=[
        "usual", "CRLF", "CR", "byte order mark", "records without data", "fields",
        "no blank lines", "no end of line", "other fields",
    ],
)  # fmt: skip
def test_a_stream_of_events_is_read(text: str) -> None:
    data = text.encode()
    assert documents(data) == [A, B, DONE]
    assert documents(*[data[at : at + 1] for at in range(len(data))]) == [A, B, DONE]


def test_a_document_can_span_several_lines() -> None:
    lines = json.dumps({"a": {"b": 1}}, indent=1).splitlines()
    text = "".join(f"data: {line}\n" for line in lines)
    (found,) = documents(f"{text}\n".encode())
    assert json.loads(found) == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"  {A}", [A]),
        ('{\n "a": 1\n}\n', ['{\n "a": 1\n}\n']),
        (f"{A}\n{B}\n", [A, B]),
        (f"[{A}]", [f"[{A}]"]),
    ],
    ids=["one line", "pretty", "NDJSON", "a list"],
)
def test_json_is_read_although_a_stream_was_requested(text: str, expected: list[str]) -> None:
    assert documents(text.encode()) == expected
    assert documents(*[bytes([byte]) for byte in text.encode()]) == expected


@pytest.mark.parametrize(
    "text", ["<!doctype html><p>hi", "  \n<?xml?>", "Ollama is running", "ok\n"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(Unframed):
        documents(text.encode())


@pytest.mark.parametrize("text", ["", "\n\n", ": keep-alive\n\n: keep-alive\n\n", "retry: 1\n\n"])
def test_an_empty_stream_has_no_documents(text: str) -> None:
    """Such a response broke off, so another try can help."""
    assert documents(text.encode()) == []


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    assert documents(b'data: {"a": "x\xff\xf0\x9f"}\n\n') == ['{"a": "x\ufffd\ufffd"}']


@given(
    lines=st.lists(
        st.sampled_from(["data: {}", "data: 1", "data:", "id: 1", ":", "", "x", "retry: 2"]),
        max_size=12,
    ),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    data=st.data(),
)
def test_the_boundaries_of_chunks_do_not_matter(
    lines: list[str], end: str, data: st.DataObject
) -> None:
    text = ("retry: 1" + end + end.join([*lines, ""])).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    edges = [0, *cuts, len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(edges)]
    assert documents(*pieces) == documents(text)
