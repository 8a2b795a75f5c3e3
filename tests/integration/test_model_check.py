"""The check of the configured endpoints at the start, and endpoints from settings."""

import asyncio
import socket
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from dataflow.model.check import CHECK_S, check, checked
from dataflow.model.dialects import DIALECTS
from dataflow.model.endpoint import Endpoint, endpoint_of, fallback_of, window_of
from shared.settings import Settings
from tests.fakes.model import FakeModel, Refusal


def endpoint(url: str | None, model: str = "fake") -> Endpoint:
    return Endpoint(url, "sk-secret", model, DIALECTS["vllm"])


async def test_a_working_endpoint_is_named_with_its_model(fake_model: FakeModel) -> None:
    first = endpoint(fake_model.base_url)
    found = await checked(first, endpoint(fake_model.base_url))
    assert found.complaints == ()
    url = fake_model.base_url
    assert found.models == f"model fake at {url}; fallback fake at {url}"
    assert (await checked(None, None)).models == "demo: SmolLM2-135M, on this machine"


@pytest.mark.parametrize(
    ("listed", "asked"),
    [("llama3.2:latest", "llama3.2"), ("models/gemini-x", "gemini-x"), ("a/b", "a/b")],
)
async def test_a_model_is_found_under_the_endpoints_spelling_of_its_name(
    fake_model: FakeModel, listed: str, asked: str
) -> None:
    fake_model.models = [{"id": listed}]
    assert (await check(endpoint(fake_model.base_url, asked))).complaint == ""


@pytest.mark.parametrize(
    ("models", "complaint"),
    [
        ([{"id": "b"}, {"id": "a"}], "does not list the model fake: set THREADWAX_MODEL to one of"),
        (Refusal(401, {"error": {}}), "refuses the key (401): set another OPENAI_API_KEY"),
        (Refusal(403, {"error": {}}), "refuses the key (403)"),
        (Refusal(404, {"detail": "Not Found"}), "has no list of models (404)"),
        (Refusal(503, "<html>"), "is busy or still starting (503); questions wait"),
        (Refusal(429, {"error": {}}), "is busy or still starting (429)"),
        (
            Refusal(308, {}, {"Location": "https://ada:pw@b.example/v1/models?key=1"}),
            "sends us to https://b.example/v1, and redirects are not followed: set OPENAI_BASE_URL",
        ),
        (Refusal(302, {}, {"Location": "//["}), "sends us to another address"),
        (Refusal(200, "<html>Welcome"), "may not be an OpenAI-compatible endpoint"),
    ],
)
async def test_each_fault_is_reported_in_one_plain_line(
    fake_model: FakeModel, models: Any, complaint: str
) -> None:
    fake_model.models = models
    found = await check(endpoint(fake_model.base_url))
    assert found.complaint.startswith(f"{fake_model.base_url} ")
    assert complaint in found.complaint
    assert "\n" not in found.complaint
    assert "sk-secret" not in found.complaint


async def test_a_fault_of_the_fallback_names_its_own_settings(fake_model: FakeModel) -> None:
    working = endpoint(fake_model.base_url)
    fake_model.models = [{"id": "fake"}]
    found = await checked(working, endpoint(fake_model.base_url, "other"))
    (complaint,) = found.complaints
    assert "set THREADWAX_FALLBACK_MODEL to one of" in complaint
    fake_model.models = Refusal(401, {"error": {}})
    _, complaint = (await checked(working, working)).complaints
    assert "set another OPENAI_FALLBACK_API_KEY" in complaint


async def test_an_address_without_v1_is_corrected(fake_model: FakeModel) -> None:
    url = fake_model.base_url.removesuffix("/v1")
    found = await check(endpoint(url))
    assert found.complaint == f"{url} is not quite right: set OPENAI_BASE_URL to {url}/v1"


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("http://127.0.0.1:{closed}/v1", "connection refused"),
        ("http://user:pw@127.0.0.1:{closed}/v1", "connection refused"),
        ("http://nowhere.invalid/v1", "its host name is not known"),
        ("https://127.0.0.1:{open}/v1", "no trusted TLS connection is possible"),
        ("127.0.0.1:{open}/v1", "must begin with http:// or https://"),
        ("localhost/v1", "must begin with http:// or https://"),
    ],
)
async def test_an_endpoint_that_cannot_be_reached_is_named_with_the_cause(
    fake_model: FakeModel, url: str, cause: str
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = unused.getsockname()[1]
    found = await check(endpoint(url.format(closed=closed, open=fake_model.port)))
    assert found.complaint.startswith("cannot reach ")
    assert cause in found.complaint
    assert "pw" not in found.complaint
    assert "questions wait and are tried again" in found.complaint


@pytest.mark.parametrize("answer", [None, b"garbage\r\n\r\n", b""])
async def test_a_server_that_sends_no_http_response_does_not_delay_the_start(
    answer: bytes | None,
) -> None:
    """The check gives up on a silent server after a few seconds."""
    writers = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writers.append(writer)
        if answer is not None:
            writer.write(answer)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    started = time.monotonic()
    found = await check(endpoint(f"http://127.0.0.1:{port}/v1"))
    assert found.complaint.startswith("cannot reach ")
    assert time.monotonic() - started < CHECK_S + 5
    for writer in writers:
        writer.close()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("field", ["max_model_len", "context_length", "context_window"])
async def test_a_reported_context_window_limits_the_assumed_one(
    fake_model: FakeModel, field: str, tmp_path: Path
) -> None:
    """A context window in the settings takes precedence."""
    fake_model.models = [{"id": "fake", field: 4096}]
    found = await checked(endpoint(fake_model.base_url), None)
    settings = settings_of(tmp_path, OPENAI_BASE_URL=fake_model.base_url)
    window = window_of(settings, reported_tokens=found.context_tokens)
    assert (window.context_tokens, window.answer_tokens) == (4096, 1024)
    own = settings.model_copy(update={"context_tokens": 8192})
    assert window_of(own, reported_tokens=4096).context_tokens == 8192
    assert window_of(settings, reported_tokens=1_000_000).context_tokens == 32_768


# --- settings -------------------------------------------------------------------------------------


def settings_of(home: Path, **fields: Any) -> Settings:
    return Settings(_env_file=None, THREADWAX_HOME=home, **fields)


def test_a_fallback_needs_an_address_or_a_key(tmp_path: Path) -> None:
    assert fallback_of(settings_of(tmp_path, OPENAI_API_KEY="k")) is None
    local = settings_of(
        tmp_path,
        OPENAI_API_KEY="k",
        OPENAI_FALLBACK_BASE_URL="http://127.0.0.1:11434/v1",
        THREADWAX_FALLBACK_MODEL="llama3.2",
    )
    found = fallback_of(local)
    assert found is not None
    assert (found.model, found.api_key, found.dialect) == ("llama3.2", "none", DIALECTS["ollama"])
    assert found.secret is None


def test_a_fallback_can_be_another_model_at_the_same_endpoint(tmp_path: Path) -> None:
    named = {"THREADWAX_FALLBACK_MODEL": "small"}
    settings = settings_of(
        tmp_path, OPENAI_BASE_URL="http://127.0.0.1:1/v1", OPENAI_API_KEY="k", **named
    )
    first, fallback = endpoint_of(settings), fallback_of(settings)
    assert fallback is not None
    assert fallback.model == "small"
    assert (fallback.base_url, fallback.api_key) == (first.base_url, first.api_key)
    assert fallback_of(settings_of(tmp_path, **named)) is None  # the demo model has only one


def test_the_secret_for_pseudonyms_is_private_and_does_not_change(tmp_path: Path) -> None:
    """The secret is created only if the endpoint is OpenAI's."""
    endpoint_of(settings_of(tmp_path, OPENAI_BASE_URL="http://127.0.0.1:1/v1"))
    file = tmp_path / "model" / "pseudonyms"
    assert not file.exists()
    settings = settings_of(tmp_path, OPENAI_API_KEY="k")
    first = endpoint_of(settings)
    assert first.secret
    assert endpoint_of(settings).secret == first.secret
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "secret" not in repr(first)


def test_the_reasoning_effort_applies_to_every_endpoint(tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path, OPENAI_API_KEY="k", OPENAI_FALLBACK_API_KEY="f", THREADWAX_REASONING_EFFORT="low"
    )
    fallback = fallback_of(settings)
    assert fallback is not None
    assert endpoint_of(settings).reasoning_effort == fallback.reasoning_effort == "low"
