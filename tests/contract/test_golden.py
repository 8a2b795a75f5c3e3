"""Golden files of all messages: a change of a message needs a new version of it.

`python -m tests.contract.test_golden` writes the files that do not exist yet.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import ValidationError

from shared.event_parsing import Unreadable, event_of
from shared.messages import (
    Again,
    AnyEvent,
    Ask,
    Attachment,
    Configure,
    Deleted,
    Edited,
    Forget,
    Linked,
    Message,
    Place,
    Quote,
    Rate,
    Reset,
    Stop,
    Unlinked,
)
from shared.replies import BackgroundCall, Partial, Reply, Timings, Usage

GOLDEN: Final = Path(__file__).parent / "golden"

_USER = "slack:T1_2EU2"
_PLACE = Place(platform="slack", space="T1", channel="C2", thread="1700000000_2E1",
               audience="private")  # fmt: skip
_SAID_AT = datetime(2026, 11, 22, 10, 30, 0, 125000, tzinfo=UTC)
_ADDRESS = {"channel": "C2", "thread_ts": "1700000000.1"}
_HEAD: dict[str, Any] = {
    "user": _USER, "place": _PLACE, "address": _ADDRESS, "said_at": _SAID_AT,
}  # fmt: skip
_ASKED = "slack-T1-C2-1700000000_2E1"

MESSAGES: Final[dict[str, Message]] = {
    "ask": Ask(
        id=_ASKED,
        text='Grüße 🙂 "quoted"\n\u2028next',
        attachments=(
            Attachment(name="a.txt", media_type="text/plain", text="inline"),
            Attachment(name="b.png", media_type="image/png", blob="blob-1"),
            Attachment(name="c.zip", media_type="application/zip", note="It is not text."),
        ),
        quotes=(Quote(author="Bob", text="Ignore that."),),
        persona="You are a pirate.",
        model="large",
        roles=("guest",),
        **_HEAD,
    ),
    "stop": Stop(id="s-1", prompt_id=_ASKED, **_HEAD),
    "reset": Reset(id="s-2", **_HEAD),
    "linked": Linked(id="s-8", accounts=("discord:7", "web:ada_40x"), **_HEAD),
    "unlinked": Unlinked(id="s-9", accounts=("discord:7",), **_HEAD),
    "rate": Rate(
        id="s-3", prompt_id=_ASKED, thumb="down", reason="wrong", correction="It is 5 🙂.", **_HEAD
    ),
    "again": Again(id="s-4", prompt_id=_ASKED, **_HEAD),
    "edited": Edited(id="s-5", prompt_id=_ASKED, text="new words", ask_again=True, **_HEAD),
    "deleted": Deleted(id="s-6", prompt_id=_ASKED, **_HEAD),
    "forget": Forget(id="s-7", silent=True, **_HEAD),
    "configure": Configure(id="s-8", settings={"tone": "brief"}, **_HEAD),
    "reply": Reply(
        prompt_id=_ASKED,
        outcome="answered",
        text="Grüße zurück 🙂",
        prompt_text="Grüße",
        model="large",
        usage=Usage(
            prompt_tokens=12, completion_tokens=34, cached_tokens=8, reasoning_tokens=20
        ),
        estimated_usage=Usage(
            prompt_tokens=10, completion_tokens=3, cached_tokens=0, reasoning_tokens=0
        ),
        answered_at=datetime(2026, 11, 22, 10, 30, 2, tzinfo=UTC),
        after="slack-T1-C2-1600000000_2E1",
        timings=Timings(
            called_at=datetime(2026, 11, 22, 10, 30, 0, 500000, tzinfo=UTC),
            first_token_at=datetime(2026, 11, 22, 10, 30, 1, 250000, tzinfo=UTC),
        ),
        experiment="terra",
        background=(
            BackgroundCall(
                kind="summary", model="large", usage=Usage(prompt_tokens=90, completion_tokens=5)
            ),
        ),
        erased={"events": 3, "replies": 2},
        **_HEAD,
    ),
    "partial": Partial(
        prompt_id=_ASKED, user=_USER, place=_PLACE, address=_ADDRESS, text="Grü", attempt=1,
        sequence=7, after="slack-T1-C2-1600000000_2E1", status="My model is busy.", early=True,
    ),
}  # fmt: skip
"""One message of each kind in its current version, with every field set."""

FILES: Final = sorted(GOLDEN.glob("*.json"))


def file_of(kind: str) -> Path:
    """The golden file of a kind of message in its current version.

    A field that older readers can ignore needs no new version: it gets a file with a letter after
    the version, such as `reply.v1b.json`, and the older file is still read.
    """
    version = json.loads(MESSAGES[kind].wire())["v"]
    return max(GOLDEN.glob(f"{kind}.v{version}*.json"), default=GOLDEN / f"{kind}.v{version}.json")


def parsed(kind: str, data: bytes) -> Message:
    """The message as the receiver reads it."""
    if kind == "reply":
        return Reply.model_validate_json(data)
    if kind == "partial":
        return Partial.model_validate_json(data)
    event: AnyEvent = event_of(data, _USER)
    return event


def canonical(data: bytes) -> str:
    """Indented JSON with the fields in the order in which they are sent."""
    return json.dumps(json.loads(data), indent=2, ensure_ascii=False) + "\n"


def write_missing() -> list[Path]:
    """Writes the files that are missing.

    Raises:
        FileExistsError: A message differs from the file of its version.
    """
    written = []
    for kind, message in MESSAGES.items():
        file = file_of(kind)
        text = canonical(message.wire())
        if not file.exists():
            file.write_text(text)
            written.append(file)
        elif file.read_text() != text:
            raise FileExistsError(
                f"{file.name} differs from the message and is never overwritten: "
                "messages of this version are stored and sent already. Give it a new version."
            )
    return written


@pytest.mark.parametrize("kind", MESSAGES)
def test_a_message_is_written_as_in_its_golden_file(kind: str) -> None:
    """It has exactly these fields, in this order."""
    assert canonical(MESSAGES[kind].wire()) == file_of(kind).read_text()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_version_ever_sent_is_read(file: Path) -> None:
    kind, version, _ = file.name.split(".")
    message = parsed(kind, file.read_bytes())
    assert version.startswith("v")
    if file == file_of(kind):
        assert message == MESSAGES[kind]
        assert type(message) is type(MESSAGES[kind])


@pytest.mark.parametrize("kind", MESSAGES)
def test_the_examples_set_every_field(kind: str) -> None:
    """Otherwise the files would not contain every field."""
    message = MESSAGES[kind]
    fields = type(message).model_fields.items()
    unset = {n for n, f in fields if n not in {"v", "kind"} and getattr(message, n) == f.default}
    assert unset == set()


@pytest.mark.parametrize("kind", MESSAGES)
def test_fields_of_a_later_version_are_ignored(kind: str) -> None:
    """This holds at every level, so that each process can be upgraded alone."""
    wire = json.loads(MESSAGES[kind].wire())
    wire["mood"] = {"deep": [1]}
    wire["place"]["floor"] = 3
    assert parsed(kind, json.dumps(wire).encode()) == MESSAGES[kind]


@pytest.mark.parametrize("kind", [k for k in MESSAGES if k not in {"reply", "partial"}])
def test_an_event_of_an_unknown_version_is_refused_with_a_reason(kind: str) -> None:
    """The error names the sender, who can get a notice."""
    wire = json.loads(MESSAGES[kind].wire()) | {"v": 2}
    with pytest.raises(Unreadable, match="version 2 of a message is unknown here") as raised:
        parsed(kind, json.dumps(wire).encode())
    assert raised.value.sender is not None
    assert raised.value.sender.user == _USER


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "SECRET"}, "kind: this version does not know it"),
        ({"address": {"SECRET": 5}}, "address: "),
        ({"attachments": [{"name": n} for n in range(200)]}, "too many fields"),
        ({"attachments": [{"SECRET": "SECRET"}]}, "attachments.0.name: "),
        ({"text": ""}, "empty"),
    ],
)
def test_the_reason_why_an_event_is_unreadable_contains_none_of_its_text(
    change: dict[str, Any], reason: str
) -> None:
    """The reason is logged, so it must not contain the text of a message."""
    data = json.loads(MESSAGES["ask"].wire()) | {"attachments": []} | change
    with pytest.raises(Unreadable) as error:
        event_of(json.dumps(data).encode(), _USER)
    assert reason in error.value.reason
    assert "SECRET" not in error.value.reason


@pytest.mark.parametrize("kind", ["reply", "partial"])
def test_a_reply_of_an_unknown_version_is_refused(kind: str) -> None:
    wire = json.loads(MESSAGES[kind].wire()) | {"v": 2}
    with pytest.raises(ValidationError, match="v\n"):
        parsed(kind, json.dumps(wire).encode())


def test_there_are_golden_files_for_exactly_the_known_kinds() -> None:
    """Files of versions that are no longer written stay, because they are still read."""
    assert {file.name.split(".")[0] for file in FILES} == set(MESSAGES)
    assert {file_of(kind) for kind in MESSAGES} <= set(FILES)


def test_a_golden_file_is_never_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing files are written, equal ones are kept, and a different one is refused."""
    monkeypatch.setattr(sys.modules[__name__], "GOLDEN", tmp_path)
    assert len(write_missing()) == len(MESSAGES)
    assert write_missing() == []
    changed = tmp_path / "ask.v1.json"
    changed.write_text(changed.read_text().replace('"text"', '"words"'))
    before = changed.read_text()
    with pytest.raises(FileExistsError, match=r"ask\.v1\.json .* new version"):
        write_missing()
    assert changed.read_text() == before


if __name__ == "__main__":
    try:
        for new in write_missing():
            print(f"written: {new.name}")  # noqa: T201
    except FileExistsError as error:
        sys.exit(str(error))
