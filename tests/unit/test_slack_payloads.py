"""Payloads from Slack in unexpected shapes are read without an exception."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bots.slack.audience import audience_of, channel_of, place_of
from bots.slack.block_kit import lines_of
from bots.slack.events import change_in, message_in, person_in
from bots.slack.file_objects import name_of, supplied, why_closed
from bots.slack.ids import said_at
from bots.slack.metadata import read_metadata
from bots.slack.people import person_of
from bots.slack.quotes import quotable, quotes_of
from bots.slack.rich_message import enclosed_in, files_of, linked_channels, words_of, written_in

KEYS = st.sampled_from([
    "type", "subtype", "user", "bot_id", "text", "ts", "thread_ts", "channel", "channel_type",
    "team_id", "event", "message", "previous_message", "files", "attachments", "is_share",
    "message_blocks", "blocks", "elements", "fields", "metadata", "event_type", "event_payload",
    "key", "final", "asker", "block_id", "is_im", "is_private", "shared_team_ids", "profile",
    "display_name", "enterprise_user", "teams", "fallback", "author_name", "url", "user_id",
    "attachments", "rows", "title", "accessory", "options", "timestamp", "style", "indent", "room",
    "reactions", "mode", "transcription", "preview", "content", "from", "actions", "footer",
])  # fmt: skip
WORDS = st.sampled_from([
    "", "x", "T1", "C1", "D1", "U1", "1.1", "99999999999.9", "im", "message", "message_changed",
    "message_deleted", "tombstone", "rich_text", "rich_text_list", "rich_text_section", "link",
    "text", "section", "markdown", "context", "threadwax", "threadwax|final|U1|k.0", "<@U1>",
    "\ud83d", "<!channel>", "\u0661.\u0661", "table", "image", "video", "call", "input", "date",
    "radio_buttons", "slack_audio", "email", "tombstone", "check_file_info", "huddle_thread",
])  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | WORDS
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=8,
)
OBJECTS = st.dictionaries(KEYS, JSON, max_size=8)
FEW = settings(max_examples=40)


@FEW
@given(OBJECTS, OBJECTS)
def test_an_event_of_any_shape_is_read_or_ignored(
    event: dict[str, Any], outer: dict[str, Any]
) -> None:
    """The result has ids, times and texts that can be stored."""
    body = {**outer, "event": event}
    assert isinstance(person_in(body), str)
    said, changed = message_in(body), change_in(body)
    for one in (said, changed and changed.old, changed and changed.new):
        if one:
            one.text.encode()
            assert one.id
            said_at(one.ts)
            assert all(enclosed.text for enclosed in one.enclosed)
    if changed:
        said_at(changed.stamp)


@FEW
@given(OBJECTS)
def test_a_message_of_any_shape_is_read(message: dict[str, Any]) -> None:
    """Blocks, attachments and metadata can have any shape, too."""
    words_of(message).encode()
    words_of(message, own=True).encode()
    written_in(message).encode()
    assert all(enclosed.text for enclosed in enclosed_in(message))
    assert all(one for one in linked_channels([message]))
    for file in files_of(message):
        assert name_of(file)
        supplied(file).encode()
        assert isinstance(why_closed(file), str)
    read_metadata(message, "U1")
    thread = [{**message, "ts": "1.1"}]
    found = quotable(thread, asker="U2", bot="U1", before="2.2", follow_up="always")
    assert all(quote.author for quote in quotes_of(found, {}))


@FEW
@given(OBJECTS, st.booleans())
def test_a_channel_of_any_shape_has_one_audience(info: dict[str, Any], external: bool) -> None:
    """It is direct only if Slack names this person."""
    channel = channel_of(info, "T1", external=external)
    place = place_of("T1", "D1", "", "U1", channel)
    assert (place.audience == "direct") == (info.get("is_im") is True and info.get("user") == "U1")
    assert (place.space == "T1") == (place.audience == "direct")
    assert audience_of(channel, "") != "direct"
    if external and place.audience != "direct":
        assert place.space.count("/") == 2


@FEW
@given(OBJECTS)
def test_a_person_of_any_shape_is_read(user: dict[str, Any]) -> None:
    """The person's name can be encoded."""
    person_of(user).name.encode()


def test_very_deep_nesting_is_cut_off() -> None:
    """The nesting is deeper than Slack's messages and than Python's recursion limit."""
    element: dict[str, Any] = {"type": "text", "text": "deep"}
    for _ in range(100_000):
        element = {"type": "rich_text_list", "elements": [element]}
    assert not any(lines_of([{"type": "rich_text", "elements": [element]}]))
    while "elements" in element:  # freed level by level, because Python would recurse
        element = element["elements"].pop()
