"""Endpoints that refuse part of a request: this request and later ones are sent without it."""

from collections.abc import Callable
from typing import Any

import pytest

from dataflow.model.body import Image
from dataflow.model.dialects import DEMO, DIALECTS, Dialect
from tests.asking import QUESTION, MakeAsker, Messages, conversation
from tests.fakes import model_servers as servers
from tests.fakes.model import FakeModel, Refusal
from tests.fakes.model_servers import Rule

ANSWER = "answer 2 to: hello"
EVERYTHING = Dialect("max_tokens", sampling={"temperature": 0.5, "repeat_penalty": 1.1})

# --- fields ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "dialect", "missing"),
    [
        (servers.azure_old, EVERYTHING, {"stream_options"}),
        (servers.nim, EVERYTHING, {"stream_options", "reasoning_effort"}),
        (servers.gemini, EVERYTHING, {"repeat_penalty"}),
        (servers.simple_python, EVERYTHING, {"stream_options", "repeat_penalty"}),
        (servers.no_effort, EVERYTHING, {"reasoning_effort"}),
        (
            servers.pydantic_strict("stream", "max_tokens", "temperature"),
            EVERYTHING,
            {"stream_options", "repeat_penalty", "reasoning_effort"},
        ),
        (
            servers.nameless,
            EVERYTHING,
            {"stream_options", "temperature", "repeat_penalty", "reasoning_effort", "max_tokens"},
        ),
        (servers.unverified_openai, DIALECTS["vllm"], {"stream", "stream_options"}),
        (servers.pydantic_strict(), DEMO, {"stream", "stream_options", "max_tokens"}),
        (servers.any_of(servers.azure_old, servers.gemma_vllm), DEMO, {"stream_options"}),
    ],
    ids=[
        "Azure", "NIM", "Gemini", "simple Python", "no reasoning", "Mistral", "no names",
        "unverified OpenAI", "nothing optional", "fields and roles",
    ],
)  # fmt: skip
async def test_a_refused_field_is_left_out_from_then_on(
    asker: MakeAsker, fake_model: FakeModel, rule: Rule, dialect: Dialect, missing: set[str]
) -> None:
    fake_model.refuse = rule
    one = asker(dialect=dialect, reasoning_effort="low")
    assert (await one.ask()).startswith("answer ")
    first, last = fake_model.requests[0], fake_model.requests[-1]
    assert missing <= first.keys() - last.keys()
    assert {"model", "messages"} <= last.keys()
    fake_model.requests.clear()
    await one.ask()
    assert len(fake_model.requests) == 1


@pytest.mark.parametrize(
    ("dialect", "rule", "field"),
    [
        ("vllm", servers.openai_gpt6, "max_completion_tokens"),
        ("openai", servers.pydantic_strict("stream", "stream_options", "max_tokens"), "max_tokens"),
        ("openai", servers.pydantic_strict("stream", "stream_options"), None),
    ],
)
async def test_the_answer_limit_is_renamed_or_left_out(
    asker: MakeAsker, fake_model: FakeModel, dialect: Any, rule: Rule, field: str | None
) -> None:
    fake_model.refuse = rule
    one = asker(dialect=DIALECTS[dialect])
    assert await one.ask() == ANSWER
    limits = [name for name in fake_model.requests[-1] if name.startswith("max_")]
    assert limits == ([field] if field else [])
    fake_model.requests.clear()
    await one.ask()
    assert len(fake_model.requests) == 1


async def test_a_limit_that_is_too_high_is_lowered(asker: MakeAsker, fake_model: FakeModel) -> None:
    fake_model.refuse = servers.answer_limit(4096)
    one = asker(answer_tokens=8192)
    assert await one.ask() == ANSWER
    await one.ask()
    assert [request["max_tokens"] for request in fake_model.requests] == [8192, 4096, 4096]


async def test_a_refusal_is_remembered_for_one_model(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    fake_model.refuse = lambda request: (
        servers.azure_old(request) if request["model"] == "fake" else None
    )
    one = asker()
    await one.ask()
    await one.ask("bigger")
    assert "stream_options" in fake_model.requests[-1]
    await one.ask()
    assert "stream_options" not in fake_model.requests[-1]


async def test_nothing_is_learned_from_a_complaint_that_quotes_the_question(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    """The complaint names fields because somebody wrote about them. Omitting them does not help."""
    echo = servers.error("Flagged: 'is stream_options unsupported, and what is max_tokens?'")
    one = asker()
    fake_model.refuse = lambda _: echo
    assert await one.failure() == "refused"
    assert len(fake_model.requests) <= 5
    fake_model.refuse = lambda _: None
    await one.ask()
    assert {"stream_options", "max_tokens"} <= fake_model.requests[-1].keys()


async def test_an_endpoint_that_refuses_everything_is_not_asked_forever(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    fake_model.refuse = lambda request: servers.error(
        f"unknown field {max(request)}; and temperature, stream_options; "
        "streaming is not supported; roles must alternate"
    )
    assert await asker(dialect=EVERYTHING).failure() == "refused"
    assert len(fake_model.requests) < 15


# --- OpenAI's own fields --------------------------------------------------------------------------

SECRET = b"secret"
OWN = {"prompt_cache_key", "safety_identifier"}


def marks(request: dict[str, Any]) -> list[int]:
    """The messages of a request that end with a cache breakpoint."""
    return [
        at
        for at, message in enumerate(request["messages"])
        if isinstance(message["content"], list)
        and "prompt_cache_breakpoint" in message["content"][-1]
    ]


async def test_openai_gets_pseudonyms_and_other_endpoints_get_none(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    """An endpoint has a secret only if its host is OpenAI's."""
    await asker(secret=SECRET).ask()
    (request,) = fake_model.requests
    assert request.keys() >= OWN
    assert request["prompt_cache_key"] != request["safety_identifier"]
    assert all(len(request[name]) <= 64 for name in OWN)
    assert "T_U" not in str(request)
    assert marks(request) == []
    await asker(secret=SECRET).ask()
    assert fake_model.requests[1]["safety_identifier"] == request["safety_identifier"]
    await asker(secret=b"another").ask()
    assert fake_model.requests[2]["safety_identifier"] != request["safety_identifier"]
    await asker().ask()
    assert not fake_model.requests[3].keys() & OWN


async def test_newer_models_of_openai_get_breakpoints_at_the_last_questions(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    fake_model.refuse = servers.openai_gpt6
    one = asker(dialect=DIALECTS["openai"], secret=SECRET)
    await one.ask("gpt-6-luna", conversation(2))
    assert marks(fake_model.requests[-1]) == [3, 5]
    await one.ask("gpt-5.5", conversation(2))
    assert marks(fake_model.requests[-1]) == []


@pytest.mark.parametrize("field", ["prompt_cache_key", "safety_identifier"])
async def test_openai_fields_can_be_refused(
    asker: MakeAsker, fake_model: FakeModel, field: str
) -> None:
    refusal = servers.error(f"Unknown parameter: '{field}'.", param=field)
    fake_model.refuse = lambda request: refusal if field in request else None
    one = asker(secret=SECRET)
    await one.ask()
    await one.ask()
    assert [field in request for request in fake_model.requests] == [True, False, False]


async def test_cache_breakpoints_can_be_refused(asker: MakeAsker, fake_model: FakeModel) -> None:
    refusal = servers.error(
        "Unknown parameter.", param="messages[1].content[0].prompt_cache_breakpoint"
    )
    fake_model.refuse = lambda request: refusal if marks(request) else None
    one = asker(dialect=DIALECTS["openai"], secret=SECRET)
    await one.ask("gpt-6-luna")
    await one.ask("gpt-6-luna")
    assert [bool(marks(request)) for request in fake_model.requests] == [True, False, False]


# --- roles ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule",
    [
        servers.gemma_vllm, servers.mistral_llamacpp, servers.google_gemma, servers.literal_roles,
        lambda request: (
            servers.error("System message must be at the beginning", status=500)
            if any(message["role"] == "system" for message in request["messages"])
            else None
        ),
    ],
    ids=["Gemma", "llama.cpp", "Google", "literal", "Qwen"],
)  # fmt: skip
async def test_a_refused_system_message_is_merged_into_the_first_question(
    asker: MakeAsker, fake_model: FakeModel, rule: Rule
) -> None:
    fake_model.refuse = rule
    one = asker()
    await one.ask(messages=conversation(1))
    roles = [message["role"] for message in fake_model.requests[-1]["messages"]]
    assert roles == ["user", "assistant", "user"]
    assert fake_model.requests[-1]["messages"][0]["content"].startswith("persona\n\nq0")
    fake_model.requests.clear()
    await one.ask(messages=conversation(1))
    assert len(fake_model.requests) == 1


# --- length ---------------------------------------------------------------------------------------

WINDOWS: dict[str, Callable[[int], Rule]] = {
    "vLLM": servers.vllm_window,
    "llama.cpp": servers.llamacpp_window,
    "silent": servers.silent_window,
}


@pytest.mark.parametrize("server", WINDOWS)
@pytest.mark.parametrize("window", [500, 4000])
async def test_a_request_is_shortened_until_it_fits_and_the_length_is_remembered(
    asker: MakeAsker, fake_model: FakeModel, server: str, window: int
) -> None:
    """The context window has 500 tokens, but 32,768 are assumed."""
    fake_model.refuse = WINDOWS[server](window)
    fake_model.reply = lambda request: request["messages"][-1]["content"]
    one = asker(answer_tokens=8192)
    assert await one.ask(messages=conversation(100, chars=400)) == "the question"
    sent = fake_model.requests[-1]["messages"]
    assert sent[0]["content"] == "persona"
    assert sent[-2]["content"].startswith("a99 ")
    fake_model.requests.clear()
    assert await one.ask(messages=conversation(101, chars=400)) == "the question"
    assert len(fake_model.requests) == 1


async def test_only_the_answer_limit_is_shortened_if_the_question_cannot_be(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    """A first question cannot be shortened, but the room for its answer can."""
    fake_model.refuse = servers.vllm_window(500)
    one = asker(answer_tokens=8192)
    assert await one.ask() == ANSWER
    assert fake_model.requests[-1]["max_tokens"] == 125


@pytest.mark.parametrize("server", WINDOWS)
async def test_a_question_that_never_fits_is_refused_as_too_long(
    asker: MakeAsker, fake_model: FakeModel, server: str
) -> None:
    """The next question is not affected."""
    fake_model.refuse = WINDOWS[server](500)
    one = asker(answer_tokens=50)
    huge: Messages = (*conversation(3)[:-1], {"role": "user", "content": "x" * 10_000})
    assert await one.failure(messages=huge) == "too long"
    assert len(fake_model.requests) <= 4
    assert (await one.ask(messages=conversation(3))).endswith("the question")
    assert len(fake_model.requests[-1]["messages"]) == 8


async def test_an_older_call_does_not_undo_what_a_newer_one_learned(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    """Each call changes only what it learned itself."""
    fake_model.refuse = servers.any_of(servers.vllm_window(500), servers.azure_old)
    one = asker(answer_tokens=100)
    await one.ask(messages=conversation(50))
    await one.ask()
    fake_model.requests.clear()
    await one.ask(messages=conversation(50))
    assert len(fake_model.requests) == 1


@pytest.mark.parametrize("status", [429, 413])
async def test_a_request_above_the_tokens_per_minute_is_shortened(
    asker: MakeAsker, fake_model: FakeModel, status: int
) -> None:
    """No wait would make it acceptable."""
    refusal = servers.error(
        "Request too large for gpt-x on tokens per min (TPM): Limit 500, Requested 700.",
        status=status, code="rate_limit_exceeded", type="tokens",
    )  # fmt: skip
    fake_model.refuse = lambda request: refusal if servers.tokens_of(request) > 500 else None
    assert (await asker().ask(messages=conversation(50))).endswith("the question")


# --- pictures -------------------------------------------------------------------------------------


def picture_question() -> Messages:
    """A question with one picture."""
    picture = Image("image/png", (b"\x89PNG",), lambda: None)
    parts = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": picture}},
    ]
    return ({"role": "system", "content": "s"}, {"role": "user", "content": parts})


@pytest.mark.parametrize("name", servers.WITHOUT_VISION)
async def test_a_model_without_vision_is_remembered(
    asker: MakeAsker, fake_model: FakeModel, name: str
) -> None:
    """Later pictures are not sent; questions without pictures are."""
    fake_model.refuse = servers.without_vision(servers.WITHOUT_VISION[name])
    one = asker()
    assert await one.failure(messages=picture_question()) == "no pictures"
    assert await one.failure(messages=picture_question()) == "no pictures"
    assert len(fake_model.requests) == 1
    assert await one.ask(messages=QUESTION) == ANSWER


@pytest.mark.parametrize(
    "refusal",
    [
        servers.error("You uploaded an unsupported image. Its format must be one of png, jpeg."),
        servers.error("Image is not valid: cannot decode", status=500),
        Refusal(400, {"error": {"message": "no"}}),
    ],
)
async def test_one_refused_picture_does_not_mean_that_a_model_has_no_vision(
    asker: MakeAsker, fake_model: FakeModel, refusal: Refusal
) -> None:
    fake_model.refuse = servers.without_vision(refusal)
    one = asker()
    assert await one.failure(messages=picture_question()) == "no pictures"
    fake_model.refuse = lambda _: None
    fake_model.reply = lambda _: "a cat"
    assert await one.ask(messages=picture_question()) == "a cat"
