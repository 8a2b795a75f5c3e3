"""Slack's own shapes of messages and responses."""

from html import unescape
from typing import Any

TEAM = "T1"
SECRET_ROOM = "CSECRET"  # noqa: S105


def channel_info(channel: str, **flags: Any) -> dict[str, Any]:
    """Returns a channel as in `conversations.info`. By default it is not shared."""
    return {
        "id": channel, "is_channel": True, "is_im": False, "is_mpim": False, "is_private": False,
        "is_shared": False, "is_ext_shared": False, "is_org_shared": False,
        "is_pending_ext_shared": False, "pending_shared": [], "context_team_id": TEAM,
        "shared_team_ids": [TEAM], "pending_connected_team_ids": [], **flags,
    }  # fmt: skip


def forwarded(text: str, *, author: str = "Carl", **fields: Any) -> dict[str, Any]:
    """Returns the attachment that Slack creates for a forwarded message."""
    section = {"type": "rich_text_section", "elements": [{"type": "text", "text": text}]}
    blocks = [{"type": "rich_text", "block_id": "f", "elements": [section]}]
    return {
        "is_msg_unfurl": True, "is_share": True, "author_name": author, "author_id": "UCARL",
        "channel_id": SECRET_ROOM, "text": text, "fallback": f"[today] {author}: {text}",
        "message_blocks": [{"team": TEAM, "channel": SECRET_ROOM, "message": {"blocks": blocks}}],
        "ts": "1.1", "from_url": "https://test.slack.example/archives/CSECRET/p1", **fields,
    }  # fmt: skip


def as_read(message: dict[str, Any], *, metadata: bool) -> dict[str, Any]:
    """Returns a message as `conversations.replies` does.

    Slack returns Markdown as rich text with its own block id, and the text of a stream as `text`.
    """
    hidden = {"streamed", "streaming", "streams_until", *(() if metadata else ("metadata",))}
    shown = {name: value for name, value in message.items() if name not in hidden}
    if message.get("streamed"):
        shown["text"] = message["streamed"]
    blocks = []
    for number, block in enumerate(message.get("blocks") or []):
        if block["type"] == "markdown":
            words = {"type": "text", "text": unescape(block["text"])}
            section = {"type": "rich_text_section", "elements": [words]}
            blocks.append({"type": "rich_text", "block_id": f"b{number}", "elements": [section]})
        else:
            blocks.append({"block_id": f"b{number}", **block})
    return {**shown, "blocks": blocks} if "blocks" in message else shown
