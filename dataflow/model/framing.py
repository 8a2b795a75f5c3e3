"""Bytes of a response to the JSON documents in it, whatever their framing.

Pure: bytes go in, texts of JSON documents come out. It must never take more than linear time, nor
fail on a byte: text that is not UTF-8 becomes U+FFFD.

openai's own decoder is not used. It raises on a byte that is not UTF-8, on a blank line after an
`id:` field, and on records without data, all of which real endpoints send.
"""

import codecs
import json
import re
from typing import Final, Literal

DONE: Final = "[DONE]"
"""The last record of a complete stream."""

BODY_LIMIT_CHARS: Final = 16_000_000
"""Longest response that is not a stream, and longest record of a stream: it can hold a picture. A
longer one is not an answer."""

_DONE: Final = frozenset({DONE, '"[DONE]"', "[done]"})

Framing = Literal["events", "json", "web page"]

_FIELDS: Final = ("data", "event", "id", "retry")
_LINE_END: Final = re.compile(r"\r\n|\n|\r")


def is_done(document: str) -> bool:
    """Whether a document is the last record of a complete stream."""
    return document.strip() in _DONE


class Unframed(Exception):
    """The response is neither a stream of events nor JSON, or has a record without an end."""


class Records:
    """The documents of one response.

    A response that begins with a brace or a bracket is JSON, one that begins with `<` is a web
    page, and everything else is a stream of server-sent events. The declared content type is
    ignored, because proxies change it.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._framing: Framing | None = None
        self._rest: list[str] = []
        self._length = 0
        self._data: list[str] = []
        self._after_cr = False
        self._recognized = False

    @property
    def whole(self) -> bool:
        """Whether the response is JSON and not a stream of events."""
        return self._framing == "json"

    def add(self, piece: bytes) -> list[str]:
        """The documents that are complete with these bytes.

        Raises:
            Unframed: it is a web page, or JSON or a record without an end.
        """
        return self._add(self._decoder.decode(piece))

    def end(self) -> list[str]:
        """The documents that the end of the response completes.

        Raises:
            Unframed: nothing in it was a record.
        """
        text = self._decoder.decode(b"", final=True)
        documents = self._add(text)
        if self._framing == "json":
            return [*documents, *_documents("".join(self._rest))]
        last = "".join(self._rest)
        if last:
            documents += self._line(last)
        documents += self._line("")
        if self._framing is not None and not self._recognized:
            raise Unframed
        return documents

    def _add(self, text: str) -> list[str]:
        if self._framing is None:
            text = text.lstrip("\ufeff \t\r\n")
            if not text:
                return []
            self._framing = _framing_of(text[0])
        if self._framing == "web page":
            raise Unframed
        if self._framing == "json":
            self._keep(text)
            return []
        return self._lines(text)

    def _keep(self, text: str) -> None:
        self._rest.append(text)
        self._length += len(text)
        if self._length > BODY_LIMIT_CHARS:
            raise Unframed

    def _lines(self, text: str) -> list[str]:
        if self._after_cr and text:
            text = text.removeprefix("\n")  # the other half of a CRLF
            self._after_cr = False
        if "\n" not in text and "\r" not in text:
            if text:
                self._keep(text)
            return []
        self._after_cr = text.endswith("\r")
        first, *lines, last = _LINE_END.split(text)
        documents = self._line("".join([*self._rest, first]))
        for line in lines:
            documents += self._line(line)
        self._rest.clear()
        self._length = sum(map(len, self._data))
        if last:
            self._keep(last)
        return documents

    def _line(self, line: str) -> list[str]:
        """The documents that a whole line completes; an empty line ends a record."""
        if not line:
            document = "\n".join(self._data)
            self._data.clear()
            return [document] if document.strip() else []
        name, colon, value = line.partition(":")
        self._recognized = self._recognized or (bool(colon) and name in {"", *_FIELDS})
        if name != "data":
            return []
        value = value.removeprefix(" ")
        # Some servers leave out the blank line, and a whole document need not wait for it.
        ending = value.rstrip()
        if not self._data and (ending.endswith("}") or is_done(ending)):
            return [value]
        self._data.append(value)
        return []


def _framing_of(first: str) -> Framing:
    if first in "{[":
        return "json"
    return "web page" if first == "<" else "events"


def _documents(text: str) -> list[str]:
    """One document, or one per line as in NDJSON."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return [line for line in text.split("\n") if line.strip()]
    return [text]
