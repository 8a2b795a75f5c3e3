"""The checks of Slack's Web API, at least as strict as the real ones."""

import json
import re
from html import unescape
from typing import Any

TEXT_LIMIT = 40_000
EDIT_LIMIT = 4_000
MARKDOWN_LIMIT = 12_000
PAYLOAD_LIMIT = 13_200
SECTION_LIMIT = 3_000
VALUE_LIMIT = 2_000
BLOCKS_LIMIT = 50
BLOCK_ID_LIMIT = 255
LOADING_LIMIT = 10
VIEW_BLOCKS_LIMIT = 100
TITLE_LIMIT = 24
METADATA_LIMIT = 3_000
INPUT_LIMIT = 3_000

SCOPES = {
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "chat.delete": "chat:write",
    "chat.postEphemeral": "chat:write",
    "chat.startStream": "chat:write",
    "chat.appendStream": "chat:write",
    "chat.stopStream": "chat:write",
    "agents.sessions.setStatus": "chat:write",
    "assistant.threads.setStatus": "assistant:write",
    "assistant.threads.setTitle": "assistant:write",
    "assistant.threads.setSuggestedPrompts": "assistant:write",
    "conversations.replies": "history",
    "conversations.history": "history",
    "conversations.info": "read",
    "conversations.open": "im:write",
    "users.info": "users:read",
    "reactions.add": "reactions:write",
    "files.info": "files:read",
    "files.getUploadURLExternal": "files:write",
    "files.completeUploadExternal": "files:write",
}
PING = re.compile(r"<!(?:channel|here|everyone|subteam\^)|<@[A-Z0-9]")
"""The beginning of a mention, which can continue in the next chunk."""
LINK = re.compile(r"https?://[^\s<>|)\]]+")


class Refusal(Exception):
    """Makes the response `ok: false` with this code."""


def check_view(view: dict[str, Any]) -> None:
    """Raises a `Refusal` for a modal that Slack does not accept.

    https://docs.slack.dev/reference/views/modal-views,
    https://docs.slack.dev/reference/block-kit/blocks/input-block
    """
    titles = (view.get(name, {"type": "plain_text", "text": "x"}) for name in ("title", "close"))
    wrong = [
        view.get("type") != "modal" or "title" not in view,
        "submit" not in view,  # it must have one if it has inputs
        any(t["type"] != "plain_text" or not 1 <= len(t["text"]) <= TITLE_LIMIT for t in titles),
        not 1 <= len(view.get("submit", {}).get("text", "")) <= TITLE_LIMIT,
        len(view.get("private_metadata", "")) > METADATA_LIMIT,
        not 1 <= len(view.get("callback_id", "x")) <= BLOCK_ID_LIMIT,
        not 1 <= len(view.get("blocks", [])) <= VIEW_BLOCKS_LIMIT,
    ]
    for block in view.get("blocks", []):
        element = block.get("element", {})
        wrong += [
            block.get("type") != "input" or element.get("type") != "plain_text_input",
            not 1 <= len(block.get("label", {}).get("text", "")) <= VALUE_LIMIT,
            not 1 <= element.get("max_length", 1) <= INPUT_LIMIT,
            len(block.get("block_id", "")) > BLOCK_ID_LIMIT,
            len(element.get("action_id", "")) > BLOCK_ID_LIMIT,
        ]
    if any(wrong):
        raise Refusal("invalid_arguments")


def check_message(args: dict[str, Any], *, edit: bool = False) -> None:
    """Raises a `Refusal` for a message that Slack does not accept."""
    text, blocks = args.get("text") or "", args.get("blocks") or []
    if not text and not blocks and not args.get("markdown_text"):
        raise Refusal("no_text")
    if len(text) > (EDIT_LIMIT if edit else TEXT_LIMIT):
        raise Refusal("msg_too_long")
    if len(args.get("markdown_text") or "") > MARKDOWN_LIMIT:
        raise Refusal("msg_too_long")
    if len(blocks) > BLOCKS_LIMIT:
        raise Refusal("invalid_blocks")
    for block in blocks:
        check_block(block)
    check_block_ids(blocks)
    if sum(len(b["text"]) for b in blocks if b["type"] == "markdown") > MARKDOWN_LIMIT:
        raise Refusal("msg_blocks_too_long")
    if len(json.dumps(blocks, ensure_ascii=False)) + len(text) > PAYLOAD_LIMIT and blocks:
        raise Refusal("msg_blocks_too_long")
    check_metadata(args.get("metadata"))


def check_metadata(metadata: Any) -> None:
    if metadata in (None, {}):
        return
    if not isinstance(metadata, dict) or set(metadata) != {"event_type", "event_payload"}:
        raise Refusal("invalid_metadata_format")
    if not isinstance(metadata["event_payload"], dict):
        raise Refusal("invalid_metadata_schema")
    if any(not isinstance(v, (str, bool, int)) for v in metadata["event_payload"].values()):
        raise Refusal("invalid_metadata_schema")


def check_block_ids(blocks: list[dict[str, Any]]) -> None:
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    if len(set(ids)) < len(ids) or any(not 0 < len(one) <= BLOCK_ID_LIMIT for one in ids):
        raise Refusal("invalid_blocks")


def check_block(block: dict[str, Any]) -> None:
    match block.get("type"):
        case "markdown":
            good = isinstance(block.get("text"), str) and block["text"]
        case "section":
            good = 0 < len(block.get("text", {}).get("text", "")) <= SECTION_LIMIT
        case "actions":
            elements = block.get("elements", [])
            good = elements and all(
                e.get("type") == "button"
                and e.get("action_id")
                and len(e.get("value", "")) <= VALUE_LIMIT
                and e["text"]["type"] == "plain_text"
                for e in elements
            )
            good = good and len({e["action_id"] for e in elements}) == len(elements)
        case "context_actions":
            elements = block.get("elements", [])
            good = elements and all(
                e.get("type") == "feedback_buttons"
                and all(
                    len(e[name]["value"]) <= VALUE_LIMIT and e[name]["text"]["type"] == "plain_text"
                    for name in ("positive_button", "negative_button")
                )
                for e in elements
            )
        case "divider":
            good = True
        case _:
            good = False
    if not good:
        raise Refusal("invalid_blocks")


def rendered(message: dict[str, Any]) -> str:
    """Returns the visible text of a message: blocks hide the text, as in Slack."""
    blocks = message.get("blocks") or []
    parts = [message["streamed"]] if message.get("streamed") else []
    for block in blocks:
        if block["type"] == "markdown":
            parts.append(block["text"])
        elif block["type"] == "section":
            parts.append(block["text"]["text"])
    if not parts and not blocks:
        parts = [message.get("text", "")]
    text = unescape("\n".join(parts))
    return f"{text} [typing]" if message.get("streaming") else text


def labels(message: dict[str, Any]) -> list[str]:
    """Returns the labels of the buttons below a message."""
    found = []
    for block in message.get("blocks") or []:
        for element in block.get("elements", []):
            if element["type"] == "button":
                found.append(element["text"]["text"])
            else:
                found += [
                    element[n]["text"]["text"] for n in ("positive_button", "negative_button")
                ]
    return found


def raw_texts(args: dict[str, Any]) -> str:
    """Returns all texts of a call in which Slack looks for mentions and links."""
    texts = [args.get("text") or "", args.get("markdown_text") or ""]
    for block in args.get("blocks") or []:
        if block["type"] == "markdown":
            texts.append(block["text"])
        elif block["type"] == "section":
            texts.append(block["text"]["text"])
    return "\n".join(texts)
