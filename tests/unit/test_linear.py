"""No parser of untrusted text takes more than linear time.

Each parser gets hostile texts of some length and of four times that length, and the longer text may
take at most ten times the CPU time of the shorter one; a quadratic parser needs sixteen times. A
parser that takes almost no time for the longer text is fast enough.
"""

import gc
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import discord
import pytest
from pydantic import ValidationError

from bots.code_fence import opened_by, quote_of
from bots.discord.audience import title_of
from bots.discord.events import Received, text_of
from bots.discord.markup import MentionNames, downgraded
from bots.discord.quotes import quotes_of as discord_quotes_of
from bots.gateway.events import Refused, ask_of, is_inbox
from bots.slack.events import change_in, message_in
from bots.slack.ids import is_ts
from bots.slack.markup import (
    defanged,
    drawable,
    escaped,
    escaped_length,
    escaped_within,
    fallback,
    hosts,
    mentioned,
    plain,
)
from bots.slack.quotes import quotable, quotes_of
from bots.slack.rich_message import enclosed_in, words_of
from bots.split_text import split_text, utf16_length
from bots.terminal.markup import Markup
from bots.terminal.preview import Preview
from bots.terminal.sanitizing import sanitized
from bots.web.dollars import with_money
from dataflow.data_tags import asked_with, background
from dataflow.model import refusals
from dataflow.model.chunk_fields import piece_of
from dataflow.model.complaint import TEXT_LIMIT_CHARS, complaint_of
from dataflow.model.overflow import is_overflow, window_in
from dataflow.model.retry_after import retry_after_s
from dataflow.tokens import estimated_tokens
from ops.rehearse.judging import verdict_in
from ops.rehearse.refusal_words import refuses
from shared import names, user_names
from shared.event_parsing import Unreadable, event_of
from shared.messages import Attachment, Quote
from shared.text import Joining, repaired
from tests.hostile import HOSTILE

NOW = datetime(2026, 11, 26, tzinfo=UTC)
RATIO_LIMIT = 10.0
"""A text of four times the length may take at most this many times as long."""

FAST_S = 0.05


def _in_tags(text: str) -> str:
    file = Attachment(name=text, media_type=text, text=text)
    quotes = (Quote(author=text, text=text),)
    return background([(text, text)]) + asked_with(text, (file,), quotes, in_full=True)


NAMING = MentionNames(role=lambda _: "<@1>", channel=lambda _: "<#1>")


def _discord(text: str) -> dict[str, Any]:
    """Reads a Discord message with this text in every text field."""
    author = {"id": "7", "username": text, "discriminator": "0", "avatar": None}
    mentions = [{**author, "id": str(k), "global_name": "<@1"} for k in range(20)]
    media = {"url": text, "description": text}
    embed = {"title": text, "url": text, "description": text, "footer": {"text": text},
             "fields": [{"name": text, "value": text}], "image": media}  # fmt: skip
    many = [{"type": 10, "content": letter} for letter in text[:20_000]]
    message = {
        "id": "5", "channel_id": "1", "author": author, "content": text, "type": 19,
        "timestamp": "2026-11-26T00:00:00+00:00", "edited_timestamp": None, "tts": False,
        "mention_everyone": False, "mentions": mentions, "mention_roles": [], "attachments": [],
        "embeds": [embed], "pinned": False,
        "poll": {"question": {"text": text}, "answers": [{"poll_media": {"text": text}}] * 10},
        "components": [{"type": 17, "components": [*many, {"type": 2, "label": text}]}],
    }  # fmt: skip
    return {**message, "referenced_message": message, "message_snapshots": [{"message": message}]}


def _received(text: str) -> Received:
    raw = _discord("")
    raw = {**raw, "content": text, "referenced_message": None, "message_snapshots": [],
           "poll": None, "embeds": [], "components": []}  # fmt: skip
    client = discord.Client(intents=discord.Intents.none())
    data: Any = {key: value for key, value in raw.items() if key != "poll"}
    channel = client.get_partial_messageable(1)
    return Received(discord.Message(state=client._connection, channel=channel, data=data), raw)


def _slack(text: str) -> dict[str, Any]:
    message = {"type": "message", "user": "U1", "text": text, "ts": "1.1", "thread_ts": text}
    event = {**message, "channel": "C1", "subtype": "message_changed", "message": message}
    return {"team_id": "T1", "event": {**event, "previous_message": {**message, "text": "x"}}}


def _contents(text: str) -> dict[str, Any]:
    leaf = {"type": "text", "text": text}
    rich = {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [leaf]}]}
    blocks = [rich, {"type": "markdown", "text": text}]
    many = [{"type": "text", "text": letter} for letter in text[:20_000]]
    deep = {"type": "rich_text", "elements": [{"type": "rich_text_list", "elements": many}]}
    shared = {"is_share": True, "text": text, "author_name": text}
    return {"text": "", "blocks": [*blocks, deep], "attachments": [shared, {"fallback": text}]}


def _ask(text: str) -> None:
    for data in ({"user_id": "a", "prompt": text}, {"user_id": text, "prompt": "a"}):
        try:
            ask_of(
                json.dumps(data).encode(),
                {"Nats-Msg-Id": text},
                "",
                now=NOW,
                fresh_id="x",
                guest=False,
            )
        except (Refused, ValidationError):
            continue


def _name(text: str) -> None:
    for read in (
        user_names.encoded,
        user_names.decoded,
        user_names.split_user,
        names.user_of_stored,
    ):
        try:
            read(text)
        except user_names.BadName:
            continue


def _event(text: str) -> None:
    for data in (
        text.encode("utf-8", "replace"),
        json.dumps({"kind": "ask", "text": text}).encode(),
    ):
        try:
            event_of(data, "slack:U1")
        except Unreadable:
            continue


def _in_pieces(text: str) -> None:
    joining = Joining()
    for at in range(0, len(text), 7):
        piece = piece_of({"choices": [{"delta": {"content": text[at : at + 7]}}]}).text
        joining.add(piece)
    joining.end()


def _growing(text: str) -> None:
    growing = Preview()
    for end in range(0, len(text), len(text) // 50):
        growing.grow(text[:end])
    growing.end(text)


def _drawn(text: str) -> None:
    """Draws a complete answer as a chat window does."""
    for piece in Preview().end(text):
        DRAWING.markdown(piece.text, 80)


def _fence(text: str) -> None:
    quote_of(text)
    fence = opened_by(text) or opened_by("> ````")
    assert fence is not None
    for line in (text, f"> {text}", f"> `````{text}"):
        opened_by(line, growing=True)
        fence.may_close(line)
        fence.closes(line)
        fence.holds(line)


def _complaint(text: str) -> None:
    """Reads an endpoint's complaint, of which only the beginning counts."""
    complaint = complaint_of(400, {"error": {"message": text.lower()}})
    is_overflow(complaint)
    window_in(complaint)
    refusals.limit_in(complaint, 8192, 16)
    refusals.about_roles(complaint)
    refusals.has_no_vision(complaint)
    refusals.names(complaint, "stream_options")
    retry_after_s({}, complaint.text)


DRAWING = Markup()
KNOWN = frozenset({"a.b"})
PARSERS: dict[str, tuple[int, Callable[[str], object]]] = {
    "model: complaint": (TEXT_LIMIT_CHARS // 4, _complaint),
    "slack: a person's words": (20_000, lambda text: (plain(text, {}), mentioned(text))),
    "slack: escaped": (20_000, lambda text: (escaped(text), escaped_within(text, 3_800))),
    "slack: fallback": (20_000, fallback),
    "web: dollars": (10_000, with_money),
    "slack: links": (10_000, lambda text: (hosts(text), defanged(text, KNOWN))),
    "slack: growing": (10_000, lambda text: defanged(text, KNOWN, growing=True)),
    "slack: drawable": (1_500, drawable),
    "slack: events": (
        20_000,
        lambda text: (message_in(_slack(text)), change_in(_slack(text)), is_ts(text)),
    ),
    "slack: contents": (
        5_000,
        lambda text: (words_of(_contents(text)), enclosed_in(_contents(text))),
    ),
    "slack: quotes": (
        20_000,
        lambda text: quotes_of(
            quotable([{"ts": "1.1", "user": text, "text": text}] * 3, asker="U", bot="B",
                   before="2.1", follow_up="always"), {}),
    ),
    "discord: a person's words": (20_000, lambda text: text_of(_received(text), 1)),
    "discord: quotes": (10_000, lambda text: discord_quotes_of(_discord(text), NAMING, 1)),
    "discord: title": (20_000, title_of),
    "discord: downgraded": (1_500, downgraded),
    "split": (4_000, lambda text: split_text(text, 2_000, length=utf16_length)),
    "split into small parts": (2_000, lambda text: split_text(text, 100, length=escaped_length)),
    "fence": (20_000, _fence),
    "gateway": (20_000, lambda text: (_ask(text), is_inbox(f"_INBOX.{text}"))),
    "names": (20_000, _name),
    "events on the bus": (20_000, _event),
    "terminal": (20_000, sanitized),
    "terminal: growing": (20_000, _growing),
    "terminal: drawn": (6_000, _drawn),  # longer than one piece
    "pieces of an answer": (20_000, _in_pieces),
    "tags of a request": (20_000, _in_tags),
    "a judge's verdict": (20_000, lambda text: (verdict_in(text, old_first=True), refuses(text))),
    "repaired": (20_000, lambda text: (repaired(text), estimated_tokens(text))),
}  # fmt: skip


def seconds(work: Callable[[str], object], text: str) -> float:
    """Returns the CPU time of one call."""
    started = time.thread_time()
    work(text)
    return time.thread_time() - started


@pytest.mark.parametrize("parser", PARSERS)
def test_four_times_the_text_takes_about_four_times_as_long(parser: str) -> None:
    """This holds for every hostile text. A slow pair is measured again to exclude noise."""
    chars, work = PARSERS[parser]
    slow = []
    gc.disable()
    try:
        for name, text_of_length in HOSTILE.items():
            short, long = text_of_length(chars), text_of_length(4 * chars)
            for _ in range(10):
                at_long = seconds(work, long)
                if at_long < FAST_S or at_long < RATIO_LIMIT * seconds(work, short):
                    break
            else:
                slow.append((name, at_long))
    finally:
        gc.enable()
    assert slow == []
