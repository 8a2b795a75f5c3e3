"""Pure functions around a model call: token counts, notes, truncation, statuses."""

import itertools
from typing import Any

import pytest

from dataflow.model.answer_notes import BY_FINISH, FALLBACK, FILTERED, LENGTH, without_note
from dataflow.model.dialects import has_breakpoints, is_openai
from dataflow.model.quirks import without_system
from dataflow.model.retry_after import retry_after_s
from dataflow.model.status import in_words, sentence
from dataflow.model.usage import usage_of
from dataflow.truncation import request_tokens, shortened
from shared.replies import Usage
from tests.asking import Messages, conversation

COUNTS = {"prompt_tokens": 10, "completion_tokens": 5}


@pytest.mark.parametrize(
    ("chunk", "cached", "reasoning"),
    [
        ({"usage": COUNTS}, None, None),
        ({"usage": {**COUNTS, "prompt_tokens_details": {"cached_tokens": 0}}}, 0, None),
        ({"usage": {**COUNTS, "prompt_tokens_details": {"cached_tokens": 8}}}, 8, None),
        ({"usage": {**COUNTS, "prompt_tokens_details": None}}, None, None),
        ({"usage": {**COUNTS, "prompt_cache_hit_tokens": 8}}, 8, None),
        ({"usage": {**COUNTS, "cache_read_input_tokens": 8}}, 8, None),
        ({"usage": {**COUNTS, "cached_tokens": 8}}, 8, None),
        ({"usage": {**COUNTS, "num_cached_tokens": 8}}, 8, None),
        ({"usage": COUNTS, "timings": {"cache_n": 8, "prompt_n": 2, "predicted_n": 5}}, 8, None),
        ({"timings": {"cache_n": 8, "prompt_n": 2, "predicted_n": 5}}, 8, None),
        ({"usage": {"prompt_tokens": "10", "completion_tokens": "5"}}, None, None),
        ({"usage": {**COUNTS, "completion_tokens_details": {"reasoning_tokens": 3}}}, None, 3),
        ({"usage": {**COUNTS, "reasoning_tokens": 3}}, None, 3),
        (
            {"usage": {"input_tokens": 10, "output_tokens": 5,
                       "input_tokens_details": {"cached_tokens": 8},
                       "output_tokens_details": {"reasoning_tokens": 3}}},
            8, 3,
        ),
        ({"choices": [], "x_groq": {"usage": COUNTS}}, None, None),
        ({"choices": [{"delta": {}, "usage": {**COUNTS, "cached_tokens": 8}}]}, 8, None),
        ({"usage": {**COUNTS, "prompt_tokens_details": {"cached_tokens": -1}}}, None, None),
        ({"usage": {**COUNTS, "prompt_tokens_details": {"cached_tokens": True}}}, None, None),
    ],
)  # fmt: skip
def test_token_counts_are_read_in_every_known_form(
    chunk: dict[str, Any], cached: int | None, reasoning: int | None
) -> None:
    """A missing number is not 0."""
    assert usage_of(chunk) == Usage(
        prompt_tokens=10, completion_tokens=5, cached_tokens=cached, reasoning_tokens=reasoning
    )


def test_a_later_report_keeps_earlier_counts_that_it_leaves_out() -> None:
    """Some gateways report the prompt's tokens at the beginning and the answer's at the end."""
    first = usage_of({"usage": {"prompt_tokens": 10, "cached_tokens": 8}})
    assert usage_of({"usage": {"completion_tokens": 5}}, first) == Usage(
        prompt_tokens=10, completion_tokens=5, cached_tokens=8
    )
    assert usage_of({"choices": []}, first) == first


DATE = "Wed, 26 Nov 2031 12:00:00 GMT"
HUGE = "9" * 20


@pytest.mark.parametrize(
    ("headers", "text", "wait_s"),
    [
        ({}, "", None),
        ({"retry-after": "3"}, "", 3),
        ({"retry-after": "1.5"}, "try again in 9s", 1.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, "", 0.25),
        ({"retry-after": "0"}, "", 0),
        ({"retry-after": "Wed, 26 Nov 2031 12:00:02 GMT", "date": DATE}, "", 2),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, "", 0),
        ({"retry-after": "1e999"}, "", float("inf")),
        ({"retry-after": "-5"}, "", None),
        ({"retry-after": "nan"}, "", None),
        ({"retry-after": "soon"}, "", None),
        ({"retry-after": ""}, "", None),
        ({"retry-after": f"Wed, {HUGE} Nov 2031 12:00:00 GMT"}, "", None),
        ({"retry-after": "Wed, 26 Nov 99999 12:00:00 GMT"}, "", None),
        ({"retry-after": f"Wed, 26 Nov 2031 12:00:00 +{HUGE}"}, "", None),
        ({"retry-after": DATE, "date": f"Wed, {HUGE} Nov 2031 12:00:00 GMT"}, "", ...),
        ({}, "rate limit reached. please try again in 7.66s. visit", 7.66),
        ({}, "please try again in 1m2.5s.", 62.5),
        ({}, "please retry in 20ms.", 0.02),
        ({}, "please try again in 5 minutes", None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, "", 360),
        ({"x-ratelimit-remaining-requests": "7", "x-ratelimit-reset-requests": "6m0s"}, "", None),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "soon"}, "", None),
    ],
)
def test_a_requested_wait_is_read_in_every_known_form(
    headers: dict[str, str], text: str, wait_s: float | None
) -> None:
    """Unreadable values are ignored."""
    found = retry_after_s(headers, text)
    assert found is not None if wait_s is ... else found == pytest.approx(wait_s)


@pytest.mark.parametrize(
    "chunk", [{}, {"usage": None}, {"usage": {}}, {"x_groq": {}}, {"choices": [{"usage": None}]}]
)
def test_without_a_report_there_is_no_usage(chunk: dict[str, Any]) -> None:
    assert usage_of(chunk) is None


@pytest.mark.parametrize("note", [LENGTH, FILTERED, FALLBACK.format(model="a/b:c"), *BY_FINISH])
def test_notes_are_removed_from_an_answer(note: str) -> None:
    """Otherwise the model would imitate it."""
    note = BY_FINISH.get(note, note)
    assert without_note(f"answer{note}") == "answer"
    assert without_note(f"answer{note}{FALLBACK.format(model='m')}") == "answer"
    assert without_note(f"answer{note} and more") == f"answer{note} and more"


@pytest.mark.parametrize("answer", ["", "]", "a [note]", "x\n\n[1]", "[" * 10_000 + "]"])
def test_an_answer_without_a_note_is_unchanged(answer: str) -> None:
    assert without_note(answer) == answer


def numbers(messages: Messages) -> list[str]:
    return [message["content"].split()[0] for message in messages]


def test_the_oldest_turns_are_removed_first_and_completely() -> None:
    messages = conversation(10)
    cut = shortened(messages, request_tokens(messages) // 2)
    assert request_tokens(cut) <= request_tokens(messages) // 2
    assert numbers(cut)[0] == "persona"
    assert numbers(cut)[-1] == "the"
    assert numbers(cut)[-3:-1] == ["q9", "a9"]
    assert [message["role"] for message in cut[1:3]] == ["user", "assistant"]


def test_a_request_that_fits_is_unchanged() -> None:
    messages = conversation(3)
    assert shortened(messages, request_tokens(messages)) is messages


@pytest.mark.parametrize("turns", [0, 1, 5])
def test_persona_summary_and_question_are_never_removed(turns: int) -> None:
    system, *rest = conversation(turns)
    summary = (
        {"role": "user", "content": "<summary>old</summary>"},
        {"role": "assistant", "content": "Understood."},
    )
    messages = (system, *summary, *rest)
    assert shortened(messages, 1) == (system, *summary, rest[-1])
    assert shortened((system, *rest), 1) == (system, rest[-1])
    assert shortened((rest[-1],), 1) == (rest[-1],)


def test_a_growing_conversation_is_cut_in_steps() -> None:
    """Most requests begin like the previous one, so that endpoints can use their caches."""
    room = request_tokens(conversation(20))
    firsts = [numbers(shortened(conversation(turns), room))[1] for turns in range(20, 60)]
    changes = sum(a != b for a, b in itertools.pairwise(firsts))
    assert 2 <= changes <= 8


def test_a_system_message_can_be_merged_into_the_first_question() -> None:
    merged = without_system(conversation(1, chars=3))
    assert [message["role"] for message in merged] == ["user", "assistant", "user"]
    assert merged[0]["content"] == "persona\n\nq0 "
    parts = [{"type": "text", "text": "look"}]
    (only,) = without_system(
        ({"role": "system", "content": "s"}, {"role": "user", "content": parts})
    )
    assert only == {"role": "user", "content": [{"type": "text", "text": "s"}, *parts]}


@pytest.mark.parametrize(
    ("model", "has"),
    [
        ("gpt-6-luna", True), ("gpt-6.1-terra", True), ("gpt-5.6", True), ("gpt-5.5", False),
        ("gpt-5", False), ("gpt-4o", False), ("openai/gpt-6-luna", True), ("gpt-oss-20b", False),
        ("llama3.2", False), ("my-gpt-6", False),
    ],
)  # fmt: skip
def test_only_newer_models_of_openai_have_breakpoints(model: str, *, has: bool) -> None:
    assert has_breakpoints(model) is has


@pytest.mark.parametrize(
    ("url", "own"),
    [
        (None, True), ("https://api.openai.com/v1", True), ("https://eu.api.openai.com/v1", True),
        ("https://api.openai.com.evil.example/v1", False), ("http://127.0.0.1:1/v1", False),
        ("https://x.openai.azure.com/v1", False), ("api.openai.com", False),
    ],
)  # fmt: skip
def test_only_openais_addresses_count_as_openai(url: str | None, *, own: bool) -> None:
    assert is_openai(url) is own


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (90, "a minute and a half"), (60, "a minute"), (1, "1 second"), (45, "45 seconds"),
        (120, "2 minutes"), (600, "10 minutes"),
    ],
)  # fmt: skip
def test_durations_are_worded_as_people_say_them(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_a_status_says_why_the_model_does_not_answer_and_how_long_retries_continue() -> None:
    assert sentence("overloaded", 90) == (
        "My language model is overloaded. I keep trying for up to a minute and a half."
    )
    assert sentence("corrupt", 60).endswith("I keep trying for up to a minute.")
