"""Reads and validates conversations in the chat format, one JSON object per line.

Never skips a bad line silently: a file with faults yields no examples, but all of its faults. The
format is the one of OpenAI's fine-tuning, documented at
https://developers.openai.com/api/docs/guides/supervised-fine-tuning, plus an optional `expect`.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args

from ops.finetune.errors import BadInput

Role = Literal["system", "user", "assistant"]

FAULTS_SHOWN: Final = 20
"""A wrong kind of file has a fault in every line."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message; `trained` is False for an answer that only gives context."""

    role: Role
    content: str
    trained: bool = True


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation that ends with an answer.

    `expect` are the words that a right answer contains, if they are fewer than the whole answer.
    """

    line: int
    messages: tuple[Message, ...]
    expect: tuple[str, ...] = ()

    @property
    def answer(self) -> str:
        """The last answer, which an evaluation asks for."""
        return self.messages[-1].content

    @property
    def digest(self) -> str:
        """Identifies the conversation, wherever in the file it is."""
        said = [[message.role, message.content] for message in self.messages[:-1]]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ChatFile:
    """The examples of a file, in its order."""

    path: Path
    sha256: str
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a line; lines count from 1."""

    line: int
    text: str


def read_chat_file(path: Path) -> ChatFile:
    """Reads all examples of a file.

    Raises:
        BadInput: it is missing, empty, or has bad lines.
    """
    try:
        contents = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}") from error
    lines = contents.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    parsed = [
        example_of(number, line) for number, line in enumerate(lines, start=1) if line.strip()
    ]
    faults = [found for found in parsed if isinstance(found, Fault)]
    if faults:
        raise BadInput("\n".join(_report(path, faults)))
    if not parsed:
        raise BadInput(f"{path} is empty: write one conversation per line")
    examples = tuple(found for found in parsed if isinstance(found, Example))
    return ChatFile(path, hashlib.sha256(contents).hexdigest(), examples)


def people_of(path: Path) -> tuple[str, ...]:
    """The users whose words are in an export; empty for a file without the manifest of an export.

    Raises:
        BadInput: the manifest next to the file cannot be read.
    """
    manifest = path.with_name(f"{path.name}.manifest.json")
    try:
        people = json.loads(manifest.read_text()).get("people", [])
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, AttributeError) as error:
        raise BadInput(f"{manifest} cannot be read: export the data again") from error
    if not isinstance(people, list) or not all(isinstance(user, str) for user in people):
        raise BadInput(f"{manifest} does not list people by their ids: export the data again")
    return tuple(people)


def example_of(number: int, line: bytes) -> Example | Fault:
    """The example in a line, or what is wrong with it."""
    try:
        return _example(number, line)
    except _Wrong as error:
        return Fault(number, str(error))


class _Wrong(Exception):
    """A line does not have the chat format."""


def _example(number: int, line: bytes) -> Example:
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise _Wrong("it is not UTF-8 text") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise _Wrong("it is not JSON") from error
    if not isinstance(value, dict) or not isinstance(value.get("messages"), list):
        raise _Wrong('it has to be an object with a list: {"messages": [...]}')
    messages = [
        _message(each, f"message {position}")
        for position, each in enumerate(value["messages"], start=1)
    ]
    _check_order(messages)
    expect = value.get("expect", [])
    words = [expect] if isinstance(expect, str) else expect
    if not isinstance(words, list) or not all(isinstance(w, str) and w.strip() for w in words):
        raise _Wrong("expect has to be a text or a list of texts")
    return Example(number, tuple(messages), tuple(words))


def _message(value: Any, which: str) -> Message:
    if not isinstance(value, dict):
        raise _Wrong(f"{which} is not an object")
    role, content, weight = value.get("role"), value.get("content"), value.get("weight", 1)
    if value.get("tool_calls") or value.get("function_call") or role in ("tool", "function"):
        raise _Wrong(f"{which} calls a tool, which this training does not support")
    if role not in get_args(Role):
        raise _Wrong(f"{which} has no role of {', '.join(get_args(Role))}")
    if not isinstance(content, str):
        raise _Wrong(f"{which} has no text as its content")
    if not content.strip():
        raise _Wrong(f"{which} is empty")
    if "\0" in content or any("\ud800" <= character <= "\udfff" for character in content):
        raise _Wrong(f"{which} contains a character that is not text")
    if weight not in (0, 1):
        raise _Wrong(f"{which} has a weight other than 0 and 1")
    return Message(cast("Role", role), content, trained=role == "assistant" and bool(weight))


def _check_order(messages: list[Message]) -> None:
    if not messages or messages[-1].role != "assistant":
        raise _Wrong("the last message has to be the assistant's answer")
    if not messages[-1].trained:
        raise _Wrong("the last answer has weight 0, so there is nothing to learn from it")
    if any(message.role == "system" for message in messages[1:]):
        raise _Wrong("a system message can only be the first one")
    dialogue = messages[1:] if messages[0].role == "system" else messages
    if dialogue[0].role != "user":
        raise _Wrong("the conversation has to begin with a user message")


def _report(path: Path, faults: list[Fault]) -> Iterator[str]:
    many = "1 line" if len(faults) == 1 else f"{len(faults)} lines"
    yield f"{path} has {many} that cannot be used; nothing was trained:"
    for fault in faults[:FAULTS_SHOWN]:
        yield f"  line {fault.line}: {fault.text}"
    if len(faults) > FAULTS_SHOWN:
        rest = ", ".join(str(fault.line) for fault in faults[FAULTS_SHOWN:])
        yield f"  and lines {rest}"
