"""Refusals in the words of many endpoints: their meaning is guessed and then confirmed."""

from typing import Any

import pytest

from dataflow.model import calls
from dataflow.model.dialects import Dialect
from tests.asking import MakeAsker, conversation
from tests.fakes import model_servers as servers
from tests.fakes import model_wordings as wordings
from tests.fakes.model import FakeModel, Refusal
from tests.fakes.model_servers import Rule, tokens_of

EVERYTHING = Dialect("max_tokens", sampling={"temperature": 0.5, "repeat_penalty": 1.1})
WINDOW = 4096


def without(field: str, refusal: Refusal) -> Rule:
    """An endpoint that refuses a field."""
    return lambda request: refusal if field in request else None


def without_system(refusal: Refusal) -> Rule:
    """An endpoint that refuses a system message."""
    return lambda request: refusal if request["messages"][0]["role"] == "system" else None


@pytest.mark.parametrize("name", wordings.FIELDS)
async def test_a_refused_field_is_recognized_in_each_wording(
    asker: MakeAsker, fake_model: FakeModel, name: str
) -> None:
    """Only that field is left out, and later requests are accepted."""
    field, refusal = wordings.FIELDS[name]
    fake_model.refuse = without(field, refusal)
    one = asker(dialect=EVERYTHING, reasoning_effort="low")
    assert (await one.ask()).startswith("answer ")
    first, last = fake_model.requests
    assert first.keys() - last.keys() - {"stream_options"} == {field} - {"stream_options"}
    await one.ask()
    assert len(fake_model.requests) == 3


@pytest.mark.parametrize("name", wordings.NAMELESS)
async def test_a_complaint_without_a_reason_leads_to_the_smallest_request(
    asker: MakeAsker, fake_model: FakeModel, name: str
) -> None:
    fake_model.refuse = without(*wordings.NAMELESS[name])
    one = asker(dialect=EVERYTHING)
    await one.ask()
    assert len(fake_model.requests) <= 3
    assert fake_model.requests[-1].keys() <= {"model", "messages", "stream"}
    fake_model.requests.clear()
    await one.ask()
    assert len(fake_model.requests) == 1


async def test_once_requests_were_accepted_a_complaint_without_a_reason_is_about_the_message(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    """A refused message costs one request. After several in a row, smaller requests are tried."""
    one = asker()
    await one.ask()
    fake_model.requests.clear()
    fake_model.refuse = lambda _: servers.error("no")
    assert await one.failure() == "refused"
    assert len(fake_model.requests) == 1
    fake_model.refuse = without("stream_options", servers.error("no"))
    for _ in range(calls.DOUBTS_LIMIT - 1):
        assert await one.failure() == "refused"
    await one.ask()


@pytest.mark.parametrize("name", wordings.ROLES)
async def test_a_refused_system_message_is_recognized(
    asker: MakeAsker, fake_model: FakeModel, name: str
) -> None:
    fake_model.refuse = without_system(wordings.ROLES[name])
    one = asker()
    await one.ask(messages=conversation(1))
    assert len(fake_model.requests) == (2 if name != "no reason" else 4)
    fake_model.requests.clear()
    await one.ask(messages=conversation(1))
    (request,) = fake_model.requests
    assert [message["role"] for message in request["messages"]] == ["user", "assistant", "user"]
    assert {"stream", "stream_options", "max_tokens"} <= request.keys()


@pytest.mark.parametrize("name", wordings.LIMITS)
async def test_the_answer_limit_is_taken_from_the_complaint(
    asker: MakeAsker, fake_model: FakeModel, name: str
) -> None:
    """No earlier message is left out."""

    def too_long(request: dict[str, Any]) -> Refusal | None:
        sent = request.get("max_tokens", 0)
        text = wordings.LIMITS[name].format(sent=sent, limit=4096)
        return servers.error(text) if sent > 4096 else None

    fake_model.refuse = too_long
    await asker(answer_tokens=8192).ask(messages=conversation(3))
    assert [request["max_tokens"] for request in fake_model.requests] == [8192, 4096]
    assert len(fake_model.requests[-1]["messages"]) == 8


def overflow(status: int, text: str) -> Rule:
    """An endpoint with a context window of 4,096 tokens and this wording."""

    def rule(request: dict[str, Any]) -> Refusal | None:
        tokens = tokens_of(request)
        if tokens <= WINDOW:
            return None
        said = text.format(tokens=tokens)
        return Refusal(status, said if "<" in said else {"error": {"message": said}})

    return rule


@pytest.mark.parametrize("name", wordings.WINDOWS)
async def test_an_overflow_is_recognized_in_each_wording(
    asker: MakeAsker, fake_model: FakeModel, name: str
) -> None:
    """Most of the conversation is still sent, and only the length is remembered."""
    fake_model.refuse = overflow(*wordings.WINDOWS[name])
    one = asker()
    await one.ask(messages=conversation(100, chars=400))
    assert tokens_of(fake_model.requests[-1]) > WINDOW / 4
    fake_model.requests.clear()
    await one.ask(messages=conversation(100, chars=400))
    (request,) = fake_model.requests
    assert request["messages"][0]["role"] == "system"
    assert {"stream", "stream_options", "max_tokens"} <= request.keys()


async def test_a_number_that_contradicts_accepted_requests_is_not_believed(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    """The size that was accepted before is tried first instead."""
    one = asker()
    await one.ask(messages=conversation(25, chars=400))
    accepted = tokens_of(fake_model.requests[-1])
    fake_model.refuse = overflow(400, "The context window of 500 tokens is exceeded: {tokens}.")
    await one.ask(messages=conversation(50, chars=400))
    assert tokens_of(fake_model.requests[-1]) > accepted / 2
    fake_model.refuse = servers.vllm_window(1000)  # the same server with another window
    await one.ask(messages=conversation(50, chars=400))
    assert tokens_of(fake_model.requests[-1]) <= 1000


async def test_a_learned_length_is_forgotten_after_a_while(
    asker: MakeAsker, fake_model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A local server may have reloaded the model with a larger context window."""
    monkeypatch.setattr(calls, "LENGTH_KEPT_FOR_S", 0.0)
    fake_model.refuse = servers.vllm_window(500)
    one = asker()
    await one.ask(messages=conversation(50))
    fake_model.refuse = lambda _: None
    await one.ask(messages=conversation(50))
    assert len(fake_model.requests[-1]["messages"]) == 102


@pytest.mark.parametrize("name", wordings.MEANINGS)
async def test_the_text_of_a_complaint_counts_more_than_its_status(
    asker: MakeAsker, fake_model: FakeModel, name: str
) -> None:
    """The notice appears at once and names the cause."""
    status, body, why = wordings.MEANINGS[name]
    fake_model.refuse = lambda _: Refusal(status, body)
    assert await asker().failure() == why
    assert len(fake_model.requests) == 1


@pytest.mark.parametrize("code", [400, "400"], ids=["number", "text"])
async def test_a_field_can_be_refused_inside_a_stream(
    asker: MakeAsker, fake_model: FakeModel, code: Any
) -> None:
    """Proxies start their response before their server has accepted the request."""
    refusal = {"error": {"message": "Unsupported parameter: stream_options", "code": code}}
    fake_model.refuse = without("stream_options", Refusal(200, refusal))
    one = asker()
    await one.ask()
    await one.ask()
    assert ["stream_options" in r for r in fake_model.requests] == [True, False, False]
