"""Our model client with a real HTTP server that fails in the way that each test orders."""

import asyncio
import gc
import json
import random
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from dataflow.model.answer_notes import LENGTH
from dataflow.model.dialects import DEMO, DIALECTS, dialect_of
from dataflow.model.errors import NOTICES, ModelError, Why
from dataflow.model.retries import waits_s
from tests.asking import Asker, MakeAsker
from tests.fakes.model import FakeModel, Fault


async def test_an_answer_streams_and_reports_its_usage(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    fake_model.piece_chars = 3
    one = asker()
    assert await one.ask() == "answer 2 to: hello"
    assert one.shown == ["ans", "wer", " 2 ", "to:", " he", "llo"]
    assert one.usage is not None
    assert one.usage.prompt_tokens > 0


@pytest.mark.parametrize("name", ["openai", "ollama", "vllm", "llamacpp", "demo"])
async def test_each_dialect_sends_what_its_endpoint_understands(
    asker: MakeAsker, fake_model: FakeModel, name: str
) -> None:
    """The length limit has one name, and the temperature is sent only if it is accepted."""
    dialect = DEMO if name == "demo" else DIALECTS[name]  # type: ignore[index]
    await asker(dialect=dialect).ask()
    (request,), (headers,) = fake_model.requests, fake_model.headers
    limits = {key for key in request if key.startswith("max_")}
    assert limits == {"max_completion_tokens" if name == "openai" else "max_tokens"}
    assert ("temperature" in request) is (name == "demo")
    assert headers["Content-Type"] == "application/json"
    assert (headers.get("Connection") == "close") is (name in {"demo", "llamacpp"})


@pytest.mark.parametrize(
    ("url", "name"),
    [
        (None, "openai"),
        ("https://api.openai.com/v1", "openai"),
        ("http://localhost:11434/v1", "ollama"),
        ("http://10.0.0.1:8000/v1", "vllm"),
    ],
)
def test_the_dialect_is_guessed_from_the_address(url: str | None, name: str) -> None:
    assert dialect_of(url) == name


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=408),
        Fault(status=409),
        Fault(status=429),
        Fault(status=500),
        Fault(status=503),
        Fault(kind="reset"),
        Fault(kind="cut"),
        Fault(kind="corrupt"),
        Fault(kind="no_finish"),
        Fault(kind="error_frame"),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)
async def test_a_temporary_fault_before_the_first_text_is_retried(
    asker: MakeAsker, fake_model: FakeModel, fault: Fault
) -> None:
    fake_model.faults.extend([fault, fault])
    assert await asker().ask() == "answer 2 to: hello"
    assert len(fake_model.requests) == 3


async def test_a_stall_before_the_first_text_is_retried(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    fake_model.faults.append(Fault(kind="stall"))
    assert await asker(silence_s=0.3).ask() == "answer 2 to: hello"


@pytest.mark.parametrize(
    "header",
    [("Retry-After", "1"), ("Retry-After", "1.5"), ("retry-after-ms", "1200")],
    ids=str,
)
async def test_retry_after_is_respected(
    asker: MakeAsker, fake_model: FakeModel, header: tuple[str, str]
) -> None:
    """The next try does not start before the time that the provider asked for."""
    fake_model.faults.append(Fault(status=429, headers=dict([header])))
    await asker().ask()
    first, second = fake_model.times
    assert second - first >= (1.2 if header[0] == "retry-after-ms" else float(header[1]))


async def test_retry_after_can_be_a_date(asker: MakeAsker, fake_model: FakeModel) -> None:
    """The date is compared with the provider's own clock."""
    dates = {
        "Date": "Wed, 26 Nov 2031 12:00:00 GMT",
        "Retry-After": "Wed, 26 Nov 2031 12:00:02 GMT",
    }
    fake_model.faults.append(Fault(status=503, headers=dates))
    await asker().ask()
    first, second = fake_model.times
    assert second - first >= 2.0


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": f"Wed, {'9' * 20} Nov 2031 12:00:00 GMT"},
        {"Retry-After": "nan"},
        {"Retry-After": "-1"},
    ],
    ids=["date", "NaN", "negative"],
)
async def test_a_retry_after_that_cannot_be_read_is_ignored(
    asker: MakeAsker, fake_model: FakeModel, headers: dict[str, str]
) -> None:
    fake_model.faults.append(Fault(status=429, headers=headers))
    assert await asker().ask() == "answer 2 to: hello"


async def test_a_wait_beyond_the_time_limit_is_not_started(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    """An earlier try would be useless."""
    fake_model.always = Fault(status=429, headers={"Retry-After": "3600"})
    one = asker(give_up_s=20.0)
    started = time.monotonic()
    assert await one.failure() == "overloaded"
    assert await one.failure() == "overloaded"  # all calls know the pause
    assert time.monotonic() - started < 15
    assert len(fake_model.requests) == 1


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault(status=401), "bad key"),
        (Fault(status=403), "bad key"),
        (Fault(status=404), "no model"),
        (Fault(status=429, error={"code": "insufficient_quota", "message": ""}), "quota"),
        (Fault(status=400, error={"code": "context_length_exceeded", "message": ""}), "too long"),
        (
            Fault(status=400, error={"type": "exceed_context_size_error", "message": ""}),
            "too long",
        ),
        (Fault(status=402), "quota"),
        (Fault(status=405), "not openai"),
        (Fault(status=429, error={"type": "exceeded_current_quota_error"}), "quota"),
        (Fault(status=400, error={"message": "Your credit balance is too low"}), "quota"),
        (Fault(status=400, error={"message": "no", "code": "content_filter"}), "refused"),
    ],
)
async def test_a_permanent_fault_fails_at_once(
    asker: MakeAsker, fake_model: FakeModel, fault: Fault, why: Why
) -> None:
    fake_model.always = fault
    assert await asker().failure() == why
    assert len(fake_model.requests) == 1


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("cut", "unreachable"),
        ("no_finish", "cut"),
        ("corrupt", "corrupt"),
        ("stall", "stalled"),
        ("error_frame", "error"),
    ],
)
async def test_after_the_first_text_nothing_is_retried(
    asker: MakeAsker, fake_model: FakeModel, kind: str, why: Why
) -> None:
    """Otherwise the text would be shown twice."""
    fake_model.piece_chars = 3
    fake_model.faults.append(Fault(kind=kind, after_chunks=2))
    one = asker(silence_s=0.5)
    assert await one.failure() == why
    assert one.shown == ["ans", "wer"]
    assert len(fake_model.requests) == 1


async def test_the_client_gives_up_in_time_if_the_model_stays_down(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    fake_model.always = Fault(status=500)
    assert await asker(give_up_s=1.0).failure() == "error"
    assert len(fake_model.requests) > 1


async def test_a_question_is_answered_once_the_model_is_back(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    """A refused connection is retried."""
    port = fake_model.port
    await fake_model.stop()
    answer = asyncio.create_task(asker().ask())
    await asyncio.sleep(0.3)
    assert not answer.done()
    await fake_model.start(port)
    assert await answer == "answer 2 to: hello"


@pytest.mark.parametrize(
    ("answer", "why"),
    [(None, "unreachable"), (b"", "unreachable"), (b"garbage\r\n\r\n", "corrupt")],
    ids=["nobody listens", "hangs up", "not HTTP"],
)
async def test_a_server_that_sends_no_http_response_is_named(
    asker: MakeAsker, answer: bytes | None, why: Why
) -> None:
    """The reason is not that of a slow server."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer or b"")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    if answer is None:
        server.close()
        await server.wait_closed()
    assert await asker(give_up_s=0.2, base_url=base_url).failure() == why
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("host", ["nowhere.invalid", f"{'a' * 70}.invalid"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_host_that_does_not_exist_is_unreachable(
    asker: MakeAsker, host: str, scheme: str
) -> None:
    one = asker(give_up_s=0.01, base_url=f"{scheme}://{host}/v1")
    assert await one.failure() == "unreachable"


async def test_a_server_without_tls_gets_no_request(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    address = fake_model.base_url.replace("http://", "https://")
    assert await asker(give_up_s=0.01, base_url=address).failure() == "unreachable"
    assert fake_model.requests == []


# --- shapes and characters ------------------------------------------------------------------------


def frames_of(*contents: Any) -> list[str]:
    """The events of an answer whose deltas have these contents."""
    chunks = [{"choices": [{"delta": {"content": content}}]} for content in contents]
    return [*map(json.dumps, chunks), FINISHED, "[DONE]"]


FINISHED = json.dumps({"choices": [{"delta": {}, "finish_reason": "stop"}]})


@pytest.mark.parametrize(
    ("contents", "answer"),
    [
        (["good ", "\ud83d", "\ude00", "!"], "good 😀!"),
        (["good \ud83d", "\ude00!"], "good 😀!"),
        (["\ud83d", "", None, "\ude00"], "😀"),
        (["good \ud83d"], "good \ufffd"),
        (["\ud83d", " alone"], "\ufffd alone"),
        (["\ude00\ud83d", "x"], "\ufffd\ufffdx"),
        (["\ud83d"], "\ufffd"),
        (["a\0b", "\0", "c"], "abc"),
    ],
)
async def test_text_is_well_formed_in_every_piece(
    asker: MakeAsker, fake_model: FakeModel, contents: list[Any], answer: str
) -> None:
    """Halves of surrogate pairs are joined or replaced, and null characters are removed."""
    fake_model.frames = frames_of(*contents)
    one = asker()
    assert await one.ask() == answer
    assert all(piece.encode() for piece in one.shown)
    assert "".join(one.shown) == answer


async def test_half_a_surrogate_pair_at_the_end_is_not_shown(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    """The stream ends in the middle of a character, without a finish reason."""
    fake_model.frames = frames_of("good ", "\ud83d")[:2]
    one = asker()
    assert await one.failure() == "cut"
    assert one.shown == ["good "]


@pytest.mark.parametrize(
    ("contents", "answer"),
    [
        ([[{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]], "one two"),
        ([[{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}], "yes"], "yes"),
        ([[{"type": "image_url", "image_url": {"url": "x"}}, "as text"]], "as text"),
        ([{"type": "output_text", "text": {"value": "nested"}}], "nested"),
        ([{"text": "untyped"}], "untyped"),
        ([42, " and ", 1.5], "42 and 1.5"),
        ([None, "", [], {}, True, "yes"], "yes"),
        ([[{"type": "reasoning", "text": "hm"}], "yes"], "yes"),
    ],
)
async def test_content_can_have_other_types_than_text(
    asker: MakeAsker, fake_model: FakeModel, contents: list[Any], answer: str
) -> None:
    fake_model.frames = frames_of(*contents)
    assert await asker().ask() == answer


@pytest.mark.parametrize(
    "contents", [[""], [None], [[]], [{}], [True], [[{"type": "text"}]], ["\0", "\0"]]
)
async def test_content_without_text_is_an_empty_answer(
    asker: MakeAsker, fake_model: FakeModel, contents: list[Any]
) -> None:
    fake_model.frames = frames_of(*contents)
    assert await asker().failure() == "empty"


async def test_chunks_before_the_first_text_are_not_kept(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    """Reasoning can take tens of thousands of chunks in each of many calls."""
    thought = json.dumps(
        {"choices": [{"delta": {"content": "", "reasoning_content": "x" * 100}}], "usage": None}
    )
    counted = json.dumps({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 1}})
    word = json.dumps({"choices": [{"delta": {"content": "word"}}]})
    fake_model.frames = [counted, *[thought] * 20_000, word, FINISHED, "[DONE]"]
    one = asker()
    tracemalloc.start()
    try:
        assert await one.ask() == "word"
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert one.usage is not None
    assert one.usage.prompt_tokens == 7
    assert peak_bytes < 10 << 20


ODD = [None, True, 0, -1, 1.5, "", "a", "\0", "\ud83d", [], {}, ["a"], {"a": 1}, [[[]]], 10**400]
"""Values of every JSON type, for places where they are not expected."""


def odd_chunks(value: Any) -> dict[str, Any]:
    """Chunks with this value, one for each place where it can occur."""
    return {
        "whole": value,
        "choices": {"choices": value},
        "choice": {"choices": [value]},
        "delta": {"choices": [{"delta": value}]},
        "content": {"choices": [{"delta": {"content": value}}]},
        "finish": {"choices": [{"delta": {"content": "a"}, "finish_reason": value}]},
        "usage": {"choices": [], "usage": value},
        "counts": {"usage": {"prompt_tokens": value, "completion_tokens": value}},
        "error": {"error": value},
        "error fields": {"error": {"message": value, "code": value, "type": value}},
    }


@pytest.mark.parametrize("place", list(odd_chunks(None)))
async def test_a_chunk_of_any_shape_leads_to_text_or_a_notice(
    asker: MakeAsker, fake_model: FakeModel, place: str
) -> None:
    """The chunk comes before the first text or after it."""
    one = asker(give_up_s=0.01)
    word = json.dumps({"choices": [{"delta": {"content": "word"}}]})
    for value in ODD:
        odd = json.dumps(odd_chunks(value)[place])
        for events in ([odd, word, FINISHED], [word, odd, FINISHED]):
            fake_model.frames = [*events, "[DONE]"]
            outcome = await outcome_of(one)
            if isinstance(outcome, ModelError):
                assert NOTICES[outcome.why]
                assert str(outcome).isprintable()
            else:
                assert "word" in outcome
                assert outcome.encode()


async def outcome_of(one: Asker) -> str | ModelError:
    """The answer or the failure; any other exception fails the test."""
    try:
        return await one.ask()
    except ModelError as error:
        return error


@pytest.mark.parametrize(
    "data",
    ["{", "[" * 100_000, '{"a":' * 100_000, "9" * 5000, '{"choices": [NaN]}', "null", '"text"'],
    ids=["cut", "deep list", "deep object", "long number", "NaN", "null", "text"],
)
async def test_data_that_is_not_a_chunk_leads_to_a_notice(
    asker: MakeAsker, fake_model: FakeModel, data: str
) -> None:
    fake_model.frames = [data]
    assert await asker(give_up_s=0.01).failure() in {"corrupt", "cut"}


async def test_the_error_name_of_an_endpoint_is_not_logged(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    """The name may contain a person's message, or characters that do not belong in a log."""
    for code in ["my salary is 41000", "\ud83d", {"a": 1}, ["b"], "\0"]:
        fake_model.always = Fault(status=400, error={"message": "m", "code": code, "type": code})
        with pytest.raises(ModelError) as failed:
            await asker().ask()
        assert str(failed.value) == "refused: BadRequestError (no code)"


async def test_an_empty_answer_is_a_failure(asker: MakeAsker, fake_model: FakeModel) -> None:
    fake_model.reply = lambda _: "  "
    assert await asker().failure() == "empty"


async def test_an_answer_cut_at_its_length_limit_says_so(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    """Half an answer must not look complete."""
    fake_model.finish = "length"
    assert (await asker().ask()).endswith(LENGTH)


async def test_a_channel_can_have_its_own_model(asker: MakeAsker, fake_model: FakeModel) -> None:
    await asker().ask("bigger")
    assert fake_model.requests[0]["model"] == "bigger"


@pytest.fixture
def slow(fake_model: FakeModel) -> FakeModel:
    fake_model.piece_chars = 1
    fake_model.pause_s = 0.05
    fake_model.reply = lambda _: "x" * 1000
    return fake_model


async def test_a_cancelled_call_closes_its_connection(asker: MakeAsker, slow: FakeModel) -> None:
    """A stopped answer causes no further cost."""
    one = asker()
    call = asyncio.create_task(one.ask())
    async with asyncio.timeout(5):
        while len(one.shown) < 3:
            await asyncio.sleep(0.01)
    call.cancel()
    async with asyncio.timeout(5):
        while not slow.hung_up:
            await asyncio.sleep(0.01)


async def test_a_retried_call_leaves_no_reference_cycles(
    asker: MakeAsker, fake_model: FakeModel
) -> None:
    """Cycles would keep all messages in memory until the next garbage collection."""
    one = asker()
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            fake_model.faults += [
                Fault(status=500),
                Fault(status=429, headers={"Retry-After": "0"}),
            ]
            await one.ask()
        assert [e for e in gc.get_objects() if isinstance(e, ModelError)] == []
    finally:
        gc.enable()


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def waits(give_up_s: float) -> tuple[Callable[[ModelError], float | None], Clock]:
    """The waits that `backoff` calls, with a clock of the test; None means that it gives up."""
    clock = Clock()
    generator = waits_s(random.Random(1), give_up_s, clock)
    next(generator)

    def wait(error: ModelError) -> float | None:
        try:
            return generator.send(error)
        except StopIteration:
            return None

    return wait, clock


def test_waits_grow_with_jitter() -> None:
    """Each wait is drawn from the upper half of a limit that doubles, up to 16 s."""
    wait, _ = waits(1000)
    drawn = [wait(ModelError("error", "")) for _ in range(8)]
    for drawn_s, limit_s in zip(drawn, [1, 2, 4, 8, 16, 16, 16, 16], strict=True):
        assert drawn_s is not None
        assert limit_s / 2 <= drawn_s <= limit_s


def test_a_wait_is_never_shorter_than_asked_for() -> None:
    wait, clock = waits(90)
    assert wait(ModelError("overloaded", "", retry_after_s=3.0)) == 3.0
    clock.now = 80.0
    assert wait(ModelError("overloaded", "", retry_after_s=10.0)) == 10.0
    clock.now = 81.0
    assert wait(ModelError("overloaded", "", retry_after_s=10.0)) is None


def test_an_endpoint_that_asks_for_no_wait_is_not_flooded() -> None:
    wait, _ = waits(90)
    drawn = [wait(ModelError("overloaded", "", retry_after_s=0.0)) for _ in range(6)]
    assert sum(one for one in drawn if one is not None) > 4


def test_a_first_try_that_takes_all_the_time_is_repeated_once() -> None:
    wait, clock = waits(90)
    clock.now = 95.0
    assert wait(ModelError("stalled", "")) == 0.0
    assert wait(ModelError("stalled", "")) is None


def test_the_last_wait_ends_at_the_time_limit() -> None:
    wait, clock = waits(90)
    clock.now = 89.9
    assert wait(ModelError("error", "")) == pytest.approx(0.1)
    clock.now = 90.0
    assert wait(ModelError("error", "")) is None
