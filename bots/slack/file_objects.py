"""Reads Slack's file objects: name, kind, text from Slack, and why a file cannot be opened.

Pure: no I/O. It must never raise, whatever the shape.

https://docs.slack.dev/reference/objects/file-object
"""

from collections.abc import Mapping
from typing import Any, Final

from bots.slack.payloads import mappings, text, value

NAME_CHARS: Final = 200
SUPPLIED_CHARS: Final = 20_000
"""Limit for an email or a transcription, the same as for a text file."""

QUOTED_CHARS: Final = 300
"""Limit for the text of a file in an earlier message."""

STUB: Final = "check_file_info"
"""The `file_access` of another company's file, about which only `files.info` says more."""

_SERVICES: Final = {
    "gdrive": "Google Drive", "dropbox": "Dropbox", "box": "Box", "onedrive": "OneDrive",
    "sharepoint": "SharePoint",
}  # fmt: skip
_CLOSED: Final = {
    "tombstone": "it was deleted",
    "hidden_by_limit": "Slack hides it, because the workspace has reached its limit for files",
    "access_denied": "Slack does not let me open it",
    "file_not_found": "it was deleted, or Slack does not let me open it",
}
_EMAIL_CHARS: Final = 200
_PAGES: Final = {"canvas": "canvas", "quip": "canvas", "space": "canvas", "list": "list"}
"""Pages inside Slack, which cannot be downloaded."""

_CLIPS: Final = {"slack_audio": "voice clip", "slack_video": "video clip"}


def name_of(file: Mapping[str, Any]) -> str:
    """The name that people know the file by."""
    return (_name(file) or f"a {kind_of(file)}")[:NAME_CHARS]


def _name(file: Mapping[str, Any]) -> str:
    return text(file, "name") or text(file, "title") or text(file, "subject")


def kind_of(file: Mapping[str, Any]) -> str:
    """The kind of file, in one or two words."""
    if clip := _CLIPS.get(text(file, "subtype")):
        return clip
    for key in ("mode", "filetype"):
        if page := _PAGES.get(text(file, key)):
            return page
    if _is_email(file):
        return "email"
    if text(file, "mode") == "snippet":
        return "snippet"
    return "picture" if text(file, "mimetype").startswith("image/") else "file"


def is_stub(file: Mapping[str, Any]) -> bool:
    """Whether this is only a reference: `files.info` returns the file object."""
    return text(file, "file_access") == STUB


def is_gone(file: Mapping[str, Any]) -> bool:
    """Whether the file was deleted or hidden before the message was sent."""
    return text(file, "mode") in {"tombstone", "hidden_by_limit"}


def is_being_transcribed(file: Mapping[str, Any]) -> bool:
    """Whether Slack is still transcribing a clip."""
    is_clip = text(file, "subtype") in _CLIPS
    return is_clip and text(file, "transcription", "status") == "processing"


def why_closed(file: Mapping[str, Any]) -> str:
    """The reason why the file cannot be opened, for its owner to read; empty if it may be."""
    for key in ("mode", "file_access"):
        if why := _CLOSED.get(text(file, key)):
            return why
    if value(file, "is_external") is True or text(file, "mode") == "external":
        service = text(file, "external_type")
        return f"it is stored in {_SERVICES.get(service, 'another service')}, not in Slack"
    kind = kind_of(file)
    if kind in _PAGES.values():
        return f"I cannot open a {kind}"
    if kind in _CLIPS.values():
        if is_being_transcribed(file):
            return "Slack has not finished its transcription; please ask again in a minute"
        return f"I cannot play a {kind}, and Slack has no transcription of it"
    return ""


def supplied(file: Mapping[str, Any]) -> str:
    """The text that Slack sends with a file: a transcription or an email."""
    if spoken := text(file, "transcription", "preview", "content"):
        whole = value(file, "transcription", "preview", "has_more") is not True
        found = f"Transcription by Slack{'' if whole else ' (the beginning)'}: {spoken}"
    elif _is_email(file):
        found = _email(file)
    else:
        found = ""
    if len(found) > SUPPLIED_CHARS:
        found = f"{found[:SUPPLIED_CHARS]}\n[cut: {len(found):,} characters]"
    return found


def in_brackets(file: Mapping[str, Any]) -> str:
    """A file of an earlier message: its name, and the beginning of the text that Slack shows."""
    why = _CLOSED.get(text(file, "mode"), "")
    name = f": {name_of(file)}" if _name(file) else ""
    named = f"[{kind_of(file)}{name}{f', but {why}' if why else ''}]"
    words = " ".join((supplied(file) or text(file, "preview"))[: 2 * QUOTED_CHARS].split())
    if not words:
        return named
    return f"{named} {words[:QUOTED_CHARS]}{'…' if len(words) > QUOTED_CHARS else ''}"


def _is_email(file: Mapping[str, Any]) -> bool:
    return "email" in {text(file, "mode"), text(file, "filetype")}


def _email(file: Mapping[str, Any]) -> str:
    senders = ", ".join(
        text(one, "original") or text(one, "name") or text(one, "address")
        for one in mappings(file, "from")
    )
    body = text(file, "plain_text") or text(file, "preview_plain_text") or text(file, "preview")
    head = [f"From: {senders[:_EMAIL_CHARS]}"] if senders else []
    if subject := text(file, "subject") or text(file, "title"):
        head.append(f"Subject: {subject[:_EMAIL_CHARS]}")
    return "\n".join([*head, body]) if body else ""
