"""What people read in Slack's messages, from payloads as Slack documents them.

https://docs.slack.dev/reference/block-kit, https://docs.slack.dev/legacy/legacy-messaging
"""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bots.slack.block_kit import lines_of
from bots.slack.file_objects import in_brackets, name_of, supplied, why_closed
from bots.slack.markup import plain
from bots.slack.rich_message import (
    CHARS,
    HIDDEN,
    Enclosed,
    enclosed_in,
    files_of,
    words_of,
    written_in,
)

NAMES = {"U1": "Ada", "S1": "on-call", "C1": "ops"}


def mrkdwn(words: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": words}


def words(label: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": label, "emoji": True}


def section(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "rich_text_section", "elements": list(elements)}


def leaf(said: str, **style: bool) -> dict[str, Any]:
    return {"type": "text", "text": said, **({"style": style} if style else {})}


def rich(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "rich_text", "block_id": "r", "elements": list(elements)}


BLOCKS: dict[str, tuple[dict[str, Any], str]] = {
    "header": ({"type": "header", "text": words("Disk full")}, "Disk full"),
    "a header that is not escaped": ({"type": "header", "text": words("a<b> & c")}, "a<b> & c"),
    "section": ({"type": "section", "text": mrkdwn("*CPU* at 97 %")}, "*CPU* at 97 %"),
    "fields": (
        {"type": "section", "fields": [mrkdwn("*Host*\ndb1"), words("severity: high")]},
        "*Host*\ndb1\nseverity: high",
    ),
    "accessory": (
        {"type": "section", "text": mrkdwn("Pizza"),
         "accessory": {"type": "button", "text": words("Vote"), "action_id": "v", "value": "x"}},
        "Pizza\n[button: Vote]",
    ),
    "picture beside a section": (
        {"type": "section", "text": mrkdwn("Load"),
         "accessory": {"type": "image", "image_url": "https://x.example/a", "alt_text": "a graph"}},
        "Load\n[image: a graph]",
    ),
    "context": (
        {"type": "context", "elements": [
            {"type": "image", "image_url": "https://x.example/a", "alt_text": "logo"},
            mrkdwn("by *CI*")]},
        "[image: logo] by *CI*",
    ),
    "image": (
        {"type": "image", "image_url": "https://x.example/a", "alt_text": "latency, p99"},
        "[image: latency, p99]",
    ),
    "image with a title": (
        {"type": "image", "slack_file": {"id": "F1"}, "alt_text": "x", "title": words("Latency")},
        "[image: Latency]",
    ),
    "table": (
        {"type": "table", "rows": [
            [{"type": "raw_text", "text": "host"}, {"type": "raw_text", "text": "load"}],
            [{"type": "raw_text", "text": "db1"}, rich(section(leaf("97 %")))]]},
        "host | load\ndb1 | 97 %",
    ),
    "data table": (
        {"type": "data_table", "caption": "Loads", "rows": [
            [{"type": "raw_text", "text": "host"}], [{"type": "raw_number", "value": 97}]]},
        "Loads\nhost\n97",
    ),
    "markdown": ({"type": "markdown", "text": "**a** [b](https://c.example)"},
                 "**a** [b](https://c.example)"),
    "video": (
        {"type": "video", "title": words("How to"), "alt_text": "x", "author_name": "Bob",
         "description": words("A tour"), "video_url": "https://v.example", "thumbnail_url": "x"},
        "[video: How to, by Bob]\nA tour",
    ),
    "file": ({"type": "file", "external_id": "plan-1", "source": "remote"}, "[file: plan-1]"),
    "call": (
        {"type": "call", "call_id": "R1", "call": {"v1": {"id": "R1", "name": "Stand-up"}}},
        "[call: Stand-up]",
    ),
    "actions": (
        {"type": "actions", "elements": [
            {"type": "button", "text": words("Acknowledge"), "action_id": "a"},
            {"type": "static_select", "placeholder": words("Assign to"), "options": []},
            {"type": "radio_buttons", "options": [{"text": words("Yes"), "value": "y"}]}]},
        "[button: Acknowledge]\n[menu: Assign to]\n[option: Yes]",
    ),
    "a button that opens a page": (
        {"type": "actions", "elements": [
            {"type": "button", "text": words("Open"), "url": "https://ci.example/1?a&b"},
            {"type": "button", "value": "x"}]},
        "[button: Open (https://ci.example/1?a&b)]",
    ),
    "menus with choices": (
        {"type": "actions", "elements": [
            {"type": "static_select", "placeholder": words("State"), "options": [
                {"text": words("Open"), "value": "o"}, {"text": words("Closed"), "value": "c"}]},
            {"type": "static_select", "initial_option": {"text": words("Open")},
             "option_groups": [{"label": words("All"), "options": [{"text": words("Open")}]}],
             "placeholder": words("State")},
            {"type": "overflow", "options": [{"text": words("Archive"), "value": "a"}]}]},
        "[menu: State: Open, Closed]\n[menu: Open: Open]\n[menu: Archive]",
    ),
    "what is chosen": (
        {"type": "actions", "elements": [
            {"type": "datepicker", "initial_date": "2026-01-02", "placeholder": words("Due")},
            {"type": "timepicker", "initial_time": "10:00"},
            {"type": "checkboxes", "initial_options": [{"text": mrkdwn("done")}], "options": [
                {"text": mrkdwn("done"), "description": mrkdwn("by all")},
                {"text": mrkdwn("open")}]}]},
        "[menu: 2026-01-02]\n[menu: 10:00]\n[option: done (chosen)]\nby all\n[option: open]",
    ),
    "input": (
        {"type": "input", "label": words("Reason"), "element": {"type": "plain_text_input"}},
        "[input: Reason]",
    ),
    "alert": ({"type": "alert", "level": "error", "text": mrkdwn("It broke")}, "[error] It broke"),
    "card": (
        {"type": "card", "title": mrkdwn("T"), "subtitle": mrkdwn("S"), "body": mrkdwn("B"),
         "actions": [{"type": "button", "text": words("Open")}]},
        "T\nS\nB\n[button: Open]",
    ),
    "container": (
        {"type": "container", "title": words("Steps"),
         "child_blocks": [{"type": "section", "text": mrkdwn("one")}]},
        "Steps\none",
    ),
    "carousel": (
        {"type": "carousel", "elements": [{"type": "card", "title": mrkdwn("First")}]}, "First",
    ),
    "plan": (
        {"type": "plan", "title": "Plan", "tasks": [
            {"type": "task_card", "task_id": "1", "title": "Look", "status": "complete",
             "output": rich(section(leaf("found it")))}]},
        "Plan\nLook\nfound it",
    ),
    "a kind of tomorrow": ({"type": "hologram", "text": mrkdwn("hello")}, "hello"),
    "a kind without words": ({"type": "star_map", "stars": [1]}, "[star map]"),
    "feedback": (
        {"type": "context_actions", "elements": [{"type": "feedback_buttons", "action_id": "f"}]},
        "",
    ),
    "divider": ({"type": "divider"}, ""),
}  # fmt: skip


@pytest.mark.parametrize("kind", BLOCKS)
def test_every_kind_of_block_is_read(kind: str) -> None:
    """Its text is read, or at least its name."""
    block, expected = BLOCKS[kind]
    assert plain("\n".join(filter(None, lines_of([block]))), NAMES) == expected


RICH: dict[str, tuple[dict[str, Any], str]] = {
    "mentions": (
        section(
            leaf("Hi "), {"type": "user", "user_id": "U1"}, leaf(" and "),
            {"type": "usergroup", "usergroup_id": "S9"}, leaf(" in "),
            {"type": "channel", "channel_id": "C1"}, leaf(" "),
            {"type": "broadcast", "range": "here"}, {"type": "emoji", "name": "wave"},
        ),
        "Hi @Ada and @group S9 in #ops @here:wave:",
    ),
    "link": (
        section({"type": "link", "url": "https://a.example/?x=1&y=2", "text": "docs"},
                leaf(", "), {"type": "link", "url": "https://b.example"}),
        "docs (https://a.example/?x=1&y=2), https://b.example",
    ),
    "date": (
        section({"type": "date", "timestamp": 1720710212, "format": "{date_num} at {time}",
                 "fallback": "2024-07-11 at 15:03"}),
        "2024-07-11 at 15:03",
    ),
    "date without words": (
        section({"type": "date", "timestamp": 1720710212, "format": "{ago}"}),
        "2024-07-11 15:03 UTC",
    ),
    "color": (section({"type": "color", "value": "#F405B3"}), "#F405B3"),
    "styles": (
        section(leaf("rm -rf", code=True), leaf(" "), leaf("old", strike=True), leaf(" <b>")),
        "`rm -rf` ~old~ <b>",
    ),
    "bullets": (
        {"type": "rich_text_list", "style": "bullet", "indent": 1,
         "elements": [section(leaf("one")), section(leaf("two"))]},
        "• one\n  • two",
    ),
    "numbers": (
        {"type": "rich_text_list", "style": "ordered", "offset": 2,
         "elements": [section(leaf("three")), section(leaf("four"))]},
        "3. three\n4. four",
    ),
    "quotation": (
        {"type": "rich_text_quote", "elements": [leaf("said\nso")]}, "> said\n> so",
    ),
    "code": (
        {"type": "rich_text_preformatted", "elements": [leaf("if a < b:\n  pass")]},
        "```\nif a < b:\n  pass\n```",
    ),
    "elements without words": (
        section(leaf("see "), {"type": "canvas", "file_id": "F1"}, leaf(" "),
                {"type": "message", "url": "https://a.example/p1"}, section()),
        "see [canvas] [message: https://a.example/p1]",
    ),
    "an element of tomorrow": (section({"type": "citation", "text": "[1]"}), "[1]"),
}  # fmt: skip


@pytest.mark.parametrize("kind", RICH)
def test_rich_text_reads_as_people_see_it(kind: str) -> None:
    """This includes lists, quotes, code and everything that stands for a name."""
    element, expected = RICH[kind]
    assert plain("\n".join(lines_of([rich(element)])), NAMES) == expected


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("<!subteam^S1|@on-call> <!subteam^S9>", "@on-call @group S9"),
        ("<#C1|> <#C1|renamed> <#C2>", "#ops #renamed #C2"),
        ("<!date^1392734382^{date}|Feb 18> <!date^1392734382^{date}>",
         "Feb 18 2014-02-18 14:39 UTC"),
        ("<!date^x^{date}> <@U_EMULATED|Eve> <mailto:a@b.example|a@b.example>",
         "@Eve a@b.example"),
    ],
)  # fmt: skip
def test_slack_markup_becomes_plain_text(said: str, shown: str) -> None:
    """This holds with and without a label from Slack."""
    assert plain(said, NAMES).split() == shown.split()


def test_a_persons_text_is_read_once() -> None:
    """Slack sends a person's text also as rich text, but a table only as a block."""
    message = {"text": "*look*", "blocks": [rich(section(leaf("look"))), BLOCKS["table"][0]]}
    assert written_in(message) == "*look*\nhost | load\ndb1 | 97 %"
    assert written_in({"blocks": message["blocks"]}) == "look\nhost | load\ndb1 | 97 %"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "Disk full\n[button: Ack]"),
        ("This content can't be displayed.", "Disk full\n[button: Ack]"),
        ("*Disk full*", "Disk full\n[button: Ack]"),
        ("db1: disk", "db1: disk\nDisk full\n[button: Ack]"),
    ],
)
def test_an_apps_text_is_read_once(text: str, expected: str) -> None:
    """Its `text` either summarizes its blocks or says something else."""
    blocks = [
        {"type": "header", "text": words("Disk full")},
        {"type": "actions", "elements": [{"type": "button", "text": words("Ack")}]},
    ]
    message = {"subtype": "bot_message", "bot_id": "B1", "text": text, "blocks": blocks}
    assert written_in(message) == expected


def test_an_alert_that_consists_of_attachments_is_read() -> None:
    """All visible parts are read in Slack's order; the others are for programs."""
    alert = {
        "subtype": "bot_message", "bot_id": "B1", "username": "Grafana", "text": "",
        "metadata": {"event_type": "secret", "event_payload": {"token": "hidden"}},
        "attachments": [{
            "id": 1, "color": "D63232", "callback_id": "hidden",
            "fallback": "[FIRING] db1", "pretext": "Firing", "author_name": "Grafana",
            "title": "Disk on db1", "title_link": "https://g.example/d/1",
            "text": "97 % &gt; 90 %", "fields": [{"title": "Host", "value": "db1", "short": True}],
            "image_url": "https://g.example/render/disk.png?width=9", "footer": "Grafana v11",
            "ts": 1720710212, "actions": [{"type": "button", "text": "Silence", "name": "s"}],
        }],
    }  # fmt: skip
    assert plain(words_of(alert), NAMES) == (
        "Firing\nGrafana\nDisk on db1 (https://g.example/d/1)\n97 % > 90 %\nHost: db1\n"
        "[image: disk.png]\n[button: Silence]\nGrafana v11 (2024-07-11 15:03 UTC)"
    )


@pytest.mark.parametrize(
    ("attachment", "expected"),
    [
        ({"fallback": "only this"}, "only this"),
        ({"title_link": "https://a.example/t"}, "https://a.example/t"),
        ({"image_url": "https://x.example/y.png", "fallback": "load of db1"},
         "[image: y.png]\nload of db1"),
        ({"author_name": "CI", "author_subname": "nightly", "text": "red"}, "CI nightly\nred"),
        ({"text": "Game?", "actions": [
            {"name": "g", "type": "select", "text": "Pick", "options": [{"text": "Chess"}]},
            {"name": "h", "type": "button", "text": "Rules", "url": "https://r.example"},
            {"name": "i", "type": "button"}]},
         "Game?\n[menu: Pick: Chess]\n[button: Rules (https://r.example)]"),
        ({"color": "#f00", "blocks": [BLOCKS["section"][0]], "fallback": "[no preview]"},
         "*CPU* at 97 %"),
        ({"attachments": [{"text": "nested"}]}, "nested"),
        ({"text": "see", "files": [{"name": "a.log", "mimetype": "text/plain"}]},
         "see\n[file: a.log]"),
        ({"title": "A talk", "video_html": "<iframe>", "service_name": "YouTube",
          "from_url": "https://y.example"}, "link preview: A talk\n[video or sound]"),
        ({"is_app_unfurl": True, "app_unfurl_url": "https://j.example/X-1", "bot_id": "B2",
          "blocks": [BLOCKS["header"][0]]}, "link preview: Disk full"),
        ({"private_channel_prompt": True, "channel_id": "C2", "from_url": "https://x"}, HIDDEN),
        ({"message_blocks": [{"message": {"blocks": [BLOCKS["section"][0]]}}]}, HIDDEN),
    ],
)  # fmt: skip
def test_every_kind_of_attachment_is_read(attachment: dict[str, Any], expected: str) -> None:
    """There are legacy attachments, blocks, and previews of pages and apps."""
    assert words_of({"attachments": [attachment]}) == expected


SHARED = {
    "is_msg_unfurl": True, "is_share": True, "author_name": "Carl", "channel_id": "C2",
    "text": "It was &lt;DNS&gt;", "fallback": "[...] Carl: It was DNS", "footer": "Posted in #ops",
    "message_blocks": [{"team": "T1", "channel": "C2", "ts": "1.1", "message": {
        "blocks": [rich(section(leaf("It was <DNS>"))), BLOCKS["table"][0]]}}],
    "files": [{"id": "F1", "name": "log.txt"}],
    "attachments": [{"title": "Graph"}],
}  # fmt: skip


def test_a_forwarded_message_is_read_as_a_whole() -> None:
    """Its text is read once, and so are its tables, attachments, files and origin."""
    (one,) = enclosed_in({"text": "see", "attachments": [SHARED]})
    assert one.by == "Carl, forwarded"
    assert plain(one.text, {}) == ("It was <DNS>\nhost | load\ndb1 | 97 %\nGraph\nPosted in #ops")
    assert "[file: log.txt]" in words_of({"attachments": [SHARED]})
    assert [file["id"] for file in files_of({"attachments": [SHARED]})] == ["F1"]


def test_a_linked_message_is_quoted_to_those_who_can_open_it() -> None:
    """The preview shows what the bot can read; a forwarded message is visible to everybody."""
    linked = {**SHARED, "is_share": False}
    message = {"text": "see", "attachments": [linked]}
    assert "DNS" not in words_of(message)
    assert words_of(message) == f"see\n{HIDDEN}"
    assert "DNS" in words_of(message, readable={"C2"})
    assert "DNS" in words_of({"attachments": [SHARED]})
    nested = {"attachments": [{"is_share": True, "text": "fwd", "attachments": [linked]}]}
    assert "DNS" not in words_of(nested)
    assert enclosed_in(message)[0].by == "Carl, forwarded"  # the asker wrote the link


def test_huddles_polls_and_reactions_are_named() -> None:
    """Content that is not text is named."""
    huddle = {"subtype": "huddle_thread", "room": {"participant_history": ["U1", "U2"]}}
    assert words_of(huddle) == "[huddle with 2 people]"
    poll = {
        "bot_id": "B1", "text": "Lunch?", "blocks": [
            {"type": "section", "text": mrkdwn("*Lunch?*")},
            {"type": "section", "text": mrkdwn(":one: Pizza `2`\n<@U1>"), "accessory": {
                "type": "button", "text": words(":one:"), "action_id": "p"}}],
        "reactions": [{"name": "+1", "users": ["U1"], "count": 1}],
    }  # fmt: skip
    assert plain(words_of(poll), NAMES) == (
        "*Lunch?*\n:one: Pizza `2`\n@Ada\n[button: :one:]\n[reactions: :+1: 1]"
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["type", "text", "elements", "options", "option_groups", "initial_option", "placeholder",
         "fields", "title", "name", "url", "style", "indent", "offset", "rows", "cells", "value",
         "accessory", "label", "element", "alt_text", "message", "blocks", "files", "ts",
         "transcription", "preview", "content", "from", "timestamp", "user_id"]), inner),
    max_leaves=20,
)  # fmt: skip
KEYS = ["text", "blocks", "attachments", "files", "reactions", "room", "subtype", "bot_id"]
INSIDE = ["is_share", "is_msg_unfurl", "message_blocks", "channel_id", "attachments", "blocks",
          "fields", "actions", "files", "text", "title", "title_link", "footer", "ts",
          "image_url", "author_name", "fallback", "from_url"]  # fmt: skip
KINDS = [block["type"] for block, _ in BLOCKS.values()] + ["x", 5, None]
ANY_BLOCKS = st.lists(st.builds(lambda kind, rest: {**rest, "type": kind}, st.sampled_from(KINDS),
                                st.dictionaries(st.sampled_from(["text", "elements", "rows",
                                "title", "child_blocks", "tasks", "accessory", "call"]), JSON)),
                      max_size=3)  # fmt: skip


@given(
    st.dictionaries(st.sampled_from(KEYS), JSON),
    st.lists(st.dictionaries(st.sampled_from(INSIDE), JSON), max_size=3),
    ANY_BLOCKS,
)
def test_a_message_with_any_fields_is_read(fields: Any, attachments: Any, blocks: Any) -> None:
    """Any field may be missing or have another type."""
    message = {"attachments": attachments, "blocks": blocks, **fields}
    for found in (written_in(message), words_of(message), words_of(message, own=True)):
        plain(found, NAMES).encode()
    for enclosed in enclosed_in(message):
        plain(enclosed.by + enclosed.text, NAMES).encode()
    for file in files_of(message):
        (in_brackets(file) + name_of(file) + supplied(file) + why_closed(file)).encode()


def test_a_giant_message_is_cut_with_a_note() -> None:
    """The whole message and each attachment have a limit."""
    found = words_of({"text": "a" * 50_000, "attachments": [{"text": "b" * 9_000}]})
    assert len(found) < CHARS + 100
    assert found.endswith("[cut: 18,022 more characters]") or "[cut: " in found
    (one,) = enclosed_in({"attachments": [{"text": "b" * 9_000}]})
    assert one == Enclosed("", "b" * 8_000 + "\n[cut: 1,000 more characters]")
    blocks = words_of({"bot_id": "B1", "blocks": [BLOCKS["section"][0]] * 10_000})
    assert blocks.endswith("\n[cut: 9,900 more blocks]")
    many = enclosed_in({"attachments": [{"text": str(n)} for n in range(30)]})
    assert many[-1].text == "[cut: 20 more attachments]"


FILES: dict[str, tuple[dict[str, Any], str, str]] = {
    # the text in a later question, and why the file cannot be read with its own question
    "a file": ({"name": "a.pdf", "mimetype": "application/pdf"}, "[file: a.pdf]", ""),
    "a picture": ({"name": "a.png", "mimetype": "image/png"}, "[picture: a.png]", ""),
    "a snippet": (
        {"title": "fix", "mode": "snippet", "preview": "x = 1\ny = 2"},
        "[snippet: fix] x = 1 y = 2", "",
    ),
    "a voice clip": (
        {"name": "audio_message.m4a", "subtype": "slack_audio", "mimetype": "audio/mp4",
         "transcription": {"status": "complete", "locale": "en-US",
                           "preview": {"content": "call me back", "has_more": True}}},
        "[voice clip: audio_message.m4a] Transcription by Slack (the beginning): call me back",
        "I cannot play a voice clip, and Slack has no transcription of it",
    ),
    "a clip that Slack still listens to": (
        {"name": "clip.mp4", "subtype": "slack_video", "transcription": {"status": "processing"}},
        "[video clip: clip.mp4]",
        "Slack has not finished its transcription; please ask again in a minute",
    ),
    "an email": (
        {"filetype": "email", "mode": "email", "title": "Invoice", "subject": "Invoice 7",
         "from": [{"address": "a@b.example", "name": "A", "original": "A <a@b.example>"}],
         "plain_text": "Please pay."},
        "[email: Invoice] From: A <a@b.example> Subject: Invoice 7 Please pay.", "",
    ),
    "a canvas": (
        {"title": "Runbook", "mode": "quip", "filetype": "quip"}, "[canvas: Runbook]",
        "I cannot open a canvas",
    ),
    "a list": (
        {"title": "Tasks", "mode": "list", "filetype": "list"}, "[list: Tasks]",
        "I cannot open a list",
    ),
    "a file in Google Drive": (
        {"title": "Plan", "mode": "external", "is_external": True, "external_type": "gdrive"},
        "[file: Plan]", "it is stored in Google Drive, not in Slack",
    ),
    "a file elsewhere": (
        {"title": "Plan", "mode": "external", "external_type": "acme"},
        "[file: Plan]", "it is stored in another service, not in Slack",
    ),
    "a deleted file": (
        {"id": "F1", "mode": "tombstone"}, "[file, but it was deleted]", "it was deleted",
    ),
    "a hidden file": (
        {"id": "F1", "mode": "hidden_by_limit"},
        "[file, but Slack hides it, because the workspace has reached its limit for files]",
        "Slack hides it, because the workspace has reached its limit for files",
    ),
    "a closed file": (
        {"id": "F1", "mode": "file_access", "file_access": "access_denied"}, "[file]",
        "Slack does not let me open it",
    ),
    "a stub": ({"id": "F1", "mode": "file_access", "file_access": "check_file_info"}, "[file]", ""),
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_a_file_is_named_with_the_reason_why_it_cannot_be_read(kind: str) -> None:
    """Slack's file object says so; its bytes are not needed."""
    file, shown, why = FILES[kind]
    assert in_brackets(file) == shown
    assert why_closed(file) == why
    assert name_of(file)
    assert words_of({"files": [file]})
    if kind in {"a voice clip", "an email"}:
        assert supplied(file).split()[-1] in shown
