"""What is on the wire today, pinned in files: a change of a message is a new version of it.

`python -m tests.contract.test_golden` writes the files of kinds and versions that have none.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import ValidationError

from shared.messages import (
    Again,
    AnyEvent,
    Ask,
    Attachment,
    Configure,
    Deleted,
    Edited,
    Forget,
    Message,
    Partial,
    Place,
    Quote,
    Rate,
    Reply,
    Reset,
    Stop,
    Unreadable,
    Usage,
    event_of,
)

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
    "rate": Rate(id="s-3", prompt_id=_ASKED, thumb="up", **_HEAD),
    "again": Again(id="s-4", prompt_id=_ASKED, **_HEAD),
    "edited": Edited(id="s-5", prompt_id=_ASKED, text="new words", ask_again=True, **_HEAD),
    "deleted": Deleted(id="s-6", prompt_id=_ASKED, **_HEAD),
    "forget": Forget(id="s-7", **_HEAD),
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
        **_HEAD,
    ),
    "partial": Partial(
        prompt_id=_ASKED, user=_USER, place=_PLACE, address=_ADDRESS, text="Grü", attempt=1,
        sequence=7, after="slack-T1-C2-1600000000_2E1", status="My model is busy.", early=True,
    ),
}  # fmt: skip
"""One of each kind at its present version, with every field set."""

FILES: Final = sorted(GOLDEN.glob("*.json"))


def file_of(kind: str) -> Path:
    """The golden file of a kind at its present version.

    A field that older readers may ignore is no new version: it gets a file with a letter after the
    version, `reply.v1b.json`, and the older file is still read.
    """
    version = json.loads(MESSAGES[kind].wire())["v"]
    return max(GOLDEN.glob(f"{kind}.v{version}*.json"), default=GOLDEN / f"{kind}.v{version}.json")


def parsed(kind: str, data: bytes) -> Message:
    """As the other side reads it."""
    if kind == "reply":
        return Reply.model_validate_json(data)
    if kind == "partial":
        return Partial.model_validate_json(data)
    event: AnyEvent = event_of(data, _USER)
    return event


def canonical(data: bytes) -> str:
    """Readable, and the same for the same bytes: fields in the order of the wire."""
    return json.dumps(json.loads(data), indent=2, ensure_ascii=False) + "\n"


def write_missing() -> list[Path]:
    """Writes the files that are missing.

    Raises:
        FileExistsError: a message no longer is what the file of its version says.
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
                f"{file.name} says otherwise and is never overwritten: "
                "messages of this version are stored and sent already. Give it a new version."
            )
    return written


@pytest.mark.parametrize("kind", MESSAGES)
def test_a_message_is_written_as_its_file_says(kind: str) -> None:
    """Field for field, in order, and nothing else."""
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
def test_the_examples_leave_no_field_at_its_default(kind: str) -> None:
    """A field that is not set is not pinned."""
    message = MESSAGES[kind]
    fields = type(message).model_fields.items()
    unset = {n for n, f in fields if n not in {"v", "kind"} and getattr(message, n) == f.default}
    assert unset == set()


@pytest.mark.parametrize("kind", MESSAGES)
def test_fields_of_a_later_version_are_ignored(kind: str) -> None:
    """At every level, so that each side can be upgraded alone."""
    wire = json.loads(MESSAGES[kind].wire())
    wire["mood"] = {"deep": [1]}
    wire["place"]["floor"] = 3
    assert parsed(kind, json.dumps(wire).encode()) == MESSAGES[kind]


@pytest.mark.parametrize("kind", [k for k in MESSAGES if k not in {"reply", "partial"}])
def test_an_event_of_an_unknown_version_is_refused_in_words(kind: str) -> None:
    """Its sender can be told so."""
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
def test_the_reason_why_an_event_is_unreadable_holds_none_of_its_words(
    change: dict[str, Any], reason: str
) -> None:
    """It is logged, and a foreign text in it could be anything."""
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


def test_there_is_a_file_for_every_kind_and_none_besides() -> None:
    """A file stays when its version is no longer written: it is still read."""
    assert {file.name.split(".")[0] for file in FILES} == set(MESSAGES)
    assert {file_of(kind) for kind in MESSAGES} <= set(FILES)


def test_an_existing_version_is_never_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing ones are written, the same is left alone, another is refused."""
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
