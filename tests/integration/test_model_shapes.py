"""Answers in the many shapes that endpoints use, over real HTTP."""

import base64
import json
import tracemalloc
from typing import Any

import pytest

from dataflow.model.answer_notes import FILTERED, LENGTH, TOOLS
from dataflow.model.answer_text import ANSWER_LIMIT_CHARS
from dataflow.model.errors import Why
from shared import metrics
from shared.replies import Usage
from tests.asking import MakeAsker
from tests.fakes.model import FakeModel, Refusal, whole


def chunk(delta: dict[str, Any], finish: str | None = None) -> str:
    """The data of one event."""
    return json.dumps({"choices": [{"delta": delta, "finish_reason": finish}]})


def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    """One event as bytes."""
    return f"data: {chunk(delta, finish)}\n\n".encode()


YES, END = {"content": "yes"}, chunk({}, "stop")
DONE = b"data: [DONE]\n\n"


# --- framing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        [b"retry: 3000\n\n", b"id: 1\n\n\n", b"event: ping\n\n", event(YES), DONE],
        [b": OPENROUTER PROCESSING\n\n", event(YES), DONE],
        [event({"role": "assistant", "content": ""}), event(YES), event({}, "stop"), DONE],
        [event(YES), event({}, "stop")],
        [event(YES), DONE],
        [event(YES).replace(b"\n", b"\r\n"), DONE.replace(b"\n", b"\r\n")],
        [b"\xef\xbb\xbf", event(YES), DONE],
        [event(YES).rstrip() + b"\n", b"data: [DONE]"],
        [bytes([byte]) for byte in event(YES) + DONE],
        [json.dumps(whole("yes")).encode()],
        [json.dumps(whole("yes"), indent=1).encode()],
        [json.dumps([whole("yes")]).encode()],
        [chunk(YES).encode() + b"\n", END.encode() + b"\n"],
        [event(YES), b'data: "[DONE]"\n\n'],
        [b'data: {"choices": []}\n\ndata: {"choices": null}\n\n', event(YES), DONE],
        [b'data: {"choices": [{"text": "yes"}]}\n\n', DONE],
    ],
    ids=[
        "records without data", "comments", "empty deltas", "no [DONE]", "no finish reason", "CRLF",
        "byte order mark", "no blank lines", "byte by byte", "JSON", "pretty JSON",
        "a list of JSON", "NDJSON", "quoted [DONE]", "no choices", "text completions",
    ],
)  # fmt: skip
@pytest.mark.parametrize("content_type", ["text/event-stream", "application/json", "text/plain"])
async def test_an_answer_is_read_in_any_framing(
    asker: MakeAsker, fake_model: FakeModel, raw: list[bytes], content_type: str
) -> None:
    """The declared content type makes no difference, because proxies change it."""
    fake_model.raw, fake_model.content_type = raw, content_type
    assert await asker().ask() == "yes"
    assert len(fake_model.requests) == 1


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ([b"<!doctype html><title>Welcome</title>"], "not openai"),
        ([b"Ollama is running"], "not openai"),
        ([b'{"status": "ok"}'], "not openai"),
        ([b"[1, 2]"], "cut"),
        ([b""], "cut"),
        ([event(YES)[:-20]], "corrupt"),
        ([b": keep-alive\n\n"], "cut"),
        ([b'data: {"type": "content_block_delta", "delta": {"text": "yes"}}\n\n'], "not openai"),
        ([b'data: {"type": "response.output_text.delta", "delta": "yes"}\n\n'], "not openai"),
        ([b'data: {"candidates": []}\n\n'], "not openai"),
        ([b'{"message": {"content": "yes"}, "done": false}\n{"done": true}\n'], "not openai"),
    ],
    ids=[
        "web page",
        "text",
        "other JSON",
        "a list",
        "nothing",
        "cut",
        "comments",
        "Anthropic",
        "Responses",
        "Google",
        "Ollama",
    ],
)
async def test_a_response_that_is_not_an_answer_is_named(
    asker: MakeAsker, fake_model: FakeModel, raw: list[bytes], why: Why
) -> None:
    fake_model.raw = raw
    assert await asker(give_up_s=0.01).failure() == why


async def test_a_record_without_an_end_is_not_read_forever(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    """Such a record must not fill up the memory."""
    fake_model.raw = [b'data: {"choices": [{"delta": {"content": "', *[b"x" * (1 << 20)] * 40]
    tracemalloc.start()
    try:
        assert await asker().failure() == "not openai"
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 64 << 20


async def test_an_answer_in_one_huge_chunk_is_cut(asker: MakeAsker, fake_model: FakeModel) -> None:
    """The journal limits the size of a message."""
    fake_model.frames = [chunk({"content": "x" * (10 << 20)}), END, "[DONE]"]
    one = asker()
    answer = await one.ask()
    assert answer == "x" * ANSWER_LIMIT_CHARS + LENGTH
    assert sum(map(len, one.shown)) == ANSWER_LIMIT_CHARS


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(
    asker: MakeAsker, fake_model: FakeModel, status: int
) -> None:
    """Another host gets neither the key nor any message."""
    other = await FakeModel().start()
    to = {"Location": f"{other.base_url}/chat/completions"}
    fake_model.refuse = lambda _: Refusal(status, {}, to)
    try:
        assert await asker().failure() == "not openai"
        assert other.requests == []
    finally:
        await other.stop()


async def test_a_login_in_the_address_is_sent_instead_of_the_key(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    """The login is for a proxy. HTTP has one header for both, so the endpoint gets no key."""
    address = fake_model.base_url.replace("://", "://ada:p%40ss@")
    await asker(base_url=address).ask()
    (headers,) = fake_model.headers
    login = base64.b64encode(b"ada:p@ss").decode()
    assert headers["Authorization"] == f"Basic {login}"
    assert "ada" not in headers["Host"]


@pytest.mark.parametrize("status", [400, 403, 405])
async def test_a_web_page_as_an_error_means_a_wrong_address(
    asker: MakeAsker, fake_model: FakeModel, status: int
) -> None:
    fake_model.refuse = lambda _: Refusal(status, "<html>not here</html>")
    assert await asker().failure() == "not openai"


async def test_an_address_without_v1_is_named(asker: MakeAsker, fake_model: FakeModel) -> None:
    """The notice names both possible causes: the model and the address."""
    one = asker(base_url=fake_model.base_url.removesuffix("/v1"))
    assert await one.failure() == "no model"


@pytest.mark.parametrize(
    ("error", "why"),
    [
        ({"error": {"message": "overloaded", "code": 529}}, "overloaded"),
        ({"error": {"message": "Rate limited", "code": 429}}, "overloaded"),
        ({"error": {"message": "RateLimitError", "code": "429"}}, "overloaded"),
        ({"error": {"message": "AuthenticationError", "code": "401"}}, "bad key"),
        ({"error": {"message": "m", "status": "UNAVAILABLE"}}, "overloaded"),
        ({"error": {"type": "authentication_error", "message": "m"}}, "bad key"),
        ({"error": True, "message": "context length exceeded", "code": 400}, "too long"),
        ({"error": {"type": "overloaded_error", "message": "Overloaded"}}, "overloaded"),
        ({"error": "model runner has stopped"}, "error"),
        ({"object": "error", "message": "engine died", "code": 500}, "error"),
        ({"type": "error", "error": {"message": "m"}}, "error"),
        ({"error": {"message": "m", "code": 402}}, "quota"),
        ({"error": {"code": "context_length_exceeded", "message": "m"}}, "too long"),
    ],
    ids=str,
)
@pytest.mark.parametrize("framing", ["event", "json"])
async def test_an_error_inside_an_answer_is_an_error(
    asker: MakeAsker, fake_model: FakeModel, error: dict[str, Any], why: Why, framing: str
) -> None:
    data = json.dumps(error).encode()
    fake_model.raw = [data if framing == "json" else b"event: error\ndata: " + data + b"\n\n"]
    assert await asker(give_up_s=0.01).failure() == why


@pytest.mark.parametrize(
    "reason", ["error", "abort", "timeout", "FAILED", "insufficient_system_resource"]
)
async def test_a_finish_reason_can_mean_that_the_answer_broke_off(
    asker: MakeAsker, fake_model: FakeModel, reason: str
) -> None:
    fake_model.frames = [chunk(YES), chunk({}, reason), "[DONE]"]
    assert await asker().failure() == "cut"


# --- endings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "answer", "why"),
    [
        ("stop", "yes", "empty"),
        ("end_turn", "yes", "empty"),
        ("STOP", "yes", "empty"),
        ("eos", "yes", "empty"),
        ("COMPLETE", "yes", "empty"),
        ("stop_sequence", "yes", "empty"),
        ("something new", "yes", "empty"),
        ("length", "yes" + LENGTH, "empty"),
        ("max_tokens", "yes" + LENGTH, "empty"),
        ("MAX_TOKENS", "yes" + LENGTH, "empty"),
        ("model_context_window_exceeded", "yes" + LENGTH, "empty"),
        ("content_filter", "yes" + FILTERED, "refused"),
        ("content-filter", "yes" + FILTERED, "refused"),
        ("SAFETY", "yes" + FILTERED, "refused"),
        ("BLOCKLIST", "yes" + FILTERED, "refused"),
        ("sensitive", "yes" + FILTERED, "refused"),
        ("tool_calls", "yes" + TOOLS, "tools"),
        ("function_call", "yes" + TOOLS, "tools"),
    ],
)
async def test_an_answer_says_if_it_ended_early(
    asker: MakeAsker, fake_model: FakeModel, reason: str, answer: str, why: Why
) -> None:
    """A note follows the text, or a notice replaces it if there is none."""
    fake_model.frames = [chunk(YES), chunk({}, reason), "[DONE]"]
    one = asker()
    assert await one.ask() == answer
    assert one.shown == ["yes"]
    fake_model.frames = [chunk({"content": ""}), chunk({}, reason), "[DONE]"]
    assert await one.failure() == why


@pytest.mark.parametrize(
    ("delta", "outcome"),
    [
        ({"tool_calls": [{"index": 0, "function": {"name": "f"}}]}, "tools"),
        ({"function_call": {"name": "f", "arguments": "{}"}}, "tools"),
        ({"content": [{"type": "tool_use", "name": "f"}]}, "tools"),
        ({"content": "", "images": [{"type": "image_url"}]}, "not text"),
        ({"content": [{"type": "image_url", "image_url": {"url": "data:"}}]}, "not text"),
        ({"audio": {"id": "a", "data": "AAAA"}}, "not text"),
        ({"content": [{"type": "something new", "data": 1}]}, "not text"),
    ],
    ids=str,
)
async def test_an_answer_without_text_says_what_the_model_sent(
    asker: MakeAsker, fake_model: FakeModel, delta: dict[str, Any], outcome: Why
) -> None:
    """The notice does not depend on the finish reason."""
    fake_model.frames = [chunk(delta), END, "[DONE]"]
    one = asker()
    assert await one.failure() == outcome
    fake_model.frames = [chunk(delta), chunk(YES), END, "[DONE]"]
    assert await one.ask() == "yes"


@pytest.mark.parametrize(
    "delta",
    [
        {"audio": {"transcript": "yes"}},
        {"content": [{"type": "markdown", "text": "yes"}]},
        {"content": [{"type": "image_url", "image_url": {}}, {"type": "text", "text": "yes"}]},
    ],
    ids=str,
)
async def test_text_in_unusual_parts_is_shown(
    asker: MakeAsker, fake_model: FakeModel, delta: dict[str, Any]
) -> None:
    fake_model.frames = [chunk(delta), END, "[DONE]"]
    assert await asker().ask() == "yes"


@pytest.mark.parametrize(
    "frames",
    [
        [chunk({"refusal": "I'm sorry, "}), chunk({"refusal": "no."}), END],
        [chunk({"content": None, "refusal": "I'm sorry, no."}), END],
        [chunk({"content": [{"type": "refusal", "refusal": "I'm sorry, no."}]}), END],
        [chunk({"content": "I'm sorry", "refusal": ", no."}, "stop")],
    ],
)
async def test_a_refusal_is_shown(
    asker: MakeAsker, fake_model: FakeModel, frames: list[str]
) -> None:
    fake_model.frames = [*frames, "[DONE]"]
    assert await asker().ask() == "I'm sorry, no."


async def test_a_refusal_in_a_whole_completion_is_shown(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    message = {"role": "assistant", "content": None, "refusal": "no."}
    body = {"choices": [{"message": message, "finish_reason": "stop"}]}
    fake_model.raw = [json.dumps(body).encode()]
    assert await asker().ask() == "no."


# --- reasoning ------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
async def test_reasoning_in_separate_fields_is_hidden(
    asker: MakeAsker, fake_model: FakeModel, field: str
) -> None:
    """People see a status while the model reasons."""
    thoughts = [chunk({field: "hm "}), chunk({field: "so yes", "content": None})]
    fake_model.frames = [*thoughts, chunk({field: None, "content": "yes"}), END, "[DONE]"]
    one, before = asker(), metrics.thought_chars._value.get()
    assert await one.ask() == "yes"
    assert one.shown == ["yes"]
    assert one.waits == ["thinking", "thinking"]
    assert metrics.thought_chars._value.get() - before == 9


async def test_reasoning_in_the_text_is_hidden(asker: MakeAsker, fake_model: FakeModel) -> None:
    fake_model.piece_chars = 2
    fake_model.reply = lambda _: "<think>\nhm, so \ud83d\ude00\n</think>\n\nyes 😀"
    one = asker()
    assert await one.ask() == "yes 😀"
    assert "".join(one.shown) == "yes 😀"
    assert one.taken_back == 0
    assert set(one.waits) == {"thinking"}


async def test_reasoning_without_an_opening_tag_is_removed_afterwards(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    fake_model.piece_chars = 2
    fake_model.reply = lambda _: "hm, so\n</think>\n\nyes"
    one = asker()
    assert await one.ask() == "yes"
    assert "".join(one.shown) == "yes"
    assert one.taken_back == 1


async def test_an_answer_about_tags_is_not_reasoning(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    answer = "Write <think> first:\n```\n<think>\nhm\n</think>\n```\n"
    fake_model.piece_chars = 3
    fake_model.reply = lambda _: answer
    assert await asker().ask() == answer


@pytest.mark.parametrize(
    "frames",
    [
        [chunk({"reasoning_content": "hm"})],
        [chunk({"reasoning": "hm"})],
        [chunk({"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]})],
        [chunk({"thinking_blocks": [{"type": "thinking", "thinking": "hm"}]})],
        [chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]})],
        [chunk({"content": "<think>hm"})],
        [chunk({"content": "<|channel|>analysis<|message|>hm"})],
    ],
)
async def test_an_answer_with_only_reasoning_gets_a_notice(
    asker: MakeAsker, fake_model: FakeModel, frames: list[str]
) -> None:
    """There is a different notice if reasoning used up the whole length."""
    one = asker()
    fake_model.frames = [*frames, chunk({}, "length"), "[DONE]"]
    assert await one.failure() == "thoughts"
    assert one.waits == ["thinking"]
    fake_model.frames = [*frames, chunk({}, "stop"), "[DONE]"]
    assert await one.failure() == "only thoughts"


async def test_a_connection_that_breaks_during_reasoning_is_retried(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    """No text has been shown yet, so the call can be repeated."""
    fake_model.raw = [event({"content": "<think>hm"})]
    one = asker(give_up_s=0.3)
    assert await one.failure() == "cut"
    assert len(fake_model.requests) > 1


# --- token counts ---------------------------------------------------------------------------------


async def test_token_counts_are_reported_as_far_as_the_endpoint_sends_them(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    one = asker()
    await one.ask()
    assert one.usage is not None
    assert (one.usage.cached_tokens, one.usage.reasoning_tokens) == (None, None)
    fake_model.usage = {
        "prompt_tokens_details": {"cached_tokens": 7},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    await one.ask()
    assert (one.usage.cached_tokens, one.usage.reasoning_tokens) == (7, 3)


async def test_token_counts_in_every_chunk_are_not_added_up(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    """Some endpoints send the sum so far with each chunk."""
    for_chunks = [
        json.dumps({"choices": [{"delta": {"content": "yes"}}], "usage": {"completion_tokens": n}})
        for n in (1, 2)
    ]
    fake_model.frames = [*for_chunks, END, "[DONE]"]
    one = asker()
    await one.ask()
    assert one.usage == Usage(prompt_tokens=0, completion_tokens=2)
