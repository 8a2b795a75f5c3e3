"""The rules of traces: ids, headers of other programs, and what switches them on."""

import subprocess
import sys
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import tracing
from shared.traces.ids import SpanIds, root_of, sent_in
from shared.traces.settings import TraceSettings
from shared.traces.variables import check
from tests.running import ROOT, question

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


def test_the_ids_of_a_question_never_change() -> None:
    """Two versions that compute them differently would split the traces of an upgrade."""
    ids = root_of("slack-C1-1700000000.000100")
    assert f"{ids.trace:032x} {ids.span:016x}" == (
        "785e910b0a72966106725c01b3e456c4 8923304955a0aa91"
    )
    assert root_of("slack-C1-1700000000.000101").trace != ids.trace


@given(st.text(min_size=1, max_size=200), st.booleans())
def test_what_we_send_can_be_read(prompt_id: str, sampled: bool) -> None:
    ids = root_of(prompt_id)
    assert sent_in({"traceparent": ids.traceparent(sampled=sampled)}) == ids


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        (None, False),
        ({}, False),
        ({"traceparent": f"00-{TRACE}-{SPAN}-01"}, True),
        ({"Traceparent": f" 00-{TRACE}-{SPAN}-00 "}, True),
        ({"traceparent": f"cc-{TRACE}-{SPAN}-01-what-the-future-adds"}, True),
        ({"traceparent": f"00-{TRACE}-{SPAN}-01-more"}, False),
        ({"traceparent": f"ff-{TRACE}-{SPAN}-01"}, False),
        ({"traceparent": f"00-{'0' * 32}-{SPAN}-01"}, False),
        ({"traceparent": f"00-{TRACE}-{'0' * 16}-01"}, False),
        ({"traceparent": f"00-{TRACE.upper()}-{SPAN}-01"}, False),
        ({"tracestate": f"00-{TRACE}-{SPAN}-01"}, False),
    ],
)
def test_the_header_of_another_program(headers: Mapping[str, str] | None, found: bool) -> None:
    """As https://www.w3.org/TR/trace-context/ says."""
    expected = SpanIds(int(TRACE, 16), int(SPAN, 16)) if found else None
    assert sent_in(headers) == expected


@given(st.text())
def test_no_header_is_an_error(value: str) -> None:
    sent_in({"traceparent": value})


@pytest.mark.parametrize(
    ("variables", "on"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_SERVICE_NAME": "bot", "OTEL_TRACES_SAMPLER": "always_on"}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "TRUE"}, False),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "false"}, True),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, False),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "otlp"}, True),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
        (
            ENDPOINT
            | {
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            },
            True,
        ),
    ],
)
def test_an_endpoint_switches_traces_on(variables: dict[str, str], on: bool) -> None:
    assert tracing.is_on(variables) is on


@pytest.mark.parametrize(
    "wrong",
    [
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"},
        {"OTEL_TRACES_EXPORTER": "console"},
    ],
)
def test_an_impossible_choice_is_named(wrong: dict[str, str]) -> None:
    """Unless traces are off anyway: the variables may be there for another program."""
    with pytest.raises(tracing.CannotTrace, match=next(iter(wrong))):
        tracing.is_on(ENDPOINT | wrong)
    assert not tracing.is_on(wrong)


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("OTEL_EXPORTER_OTLP_TIMEOUT", ["10", "0.5"], ["abc", "0", "-1", "inf", "nan"]),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", ["10"], ["10s"]),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", ["gzip", "None", " deflate "], ["zip", "true"]),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            ["key=hush", "Authorization=Bearer%20hush, x-a=b=c,", "key=", "key=Bearer hush"],
            ["hush", "key: hush", "key=hush;x", "=hush", "a b=hush", 'key="hush"'],
        ),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ["https://a.example/v1/traces"], ["a.example:4318"]),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", [__file__], ["/nowhere/ca.pem"]),
        ("OTEL_BSP_SCHEDULE_DELAY", ["100"], ["soon", "-5", "1.5", "0"]),
        ("OTEL_RESOURCE_ATTRIBUTES", ["a=b,c=d=e", ""], ["hush", "a=b,hush"]),
        ("OTEL_SDK_DISABLED", ["false", "True"], ["yes", "1"]),
    ],
)
def test_a_value_that_the_library_would_ignore_is_named(
    name: str, right: list[str], wrong: list[str]
) -> None:
    """Never with the value, which may be a secret in the wrong place."""
    for value in right:
        check({name: value})
    for value in wrong:
        with pytest.raises(ValueError, match=f"^{name} must be ") as raised:
            check({name: value})
        assert "hush" not in str(raised.value)


def test_only_the_more_specific_variable_counts() -> None:
    check({"OTEL_EXPORTER_OTLP_TIMEOUT": "abc", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "1"})


@pytest.mark.parametrize(
    "value", ["key=hush", "Authorization=Bearer%20hush, x-a=b=c,", "key=", "hush", "key: hush",
              "key=hush;x", "=hush", "a b=hush", 'key="hush"', "key=a\\b", "(a)=b", "k\u00e9y=a",
              "key=\u00e9", "key =a", "a=b,,c=d"],
)  # fmt: skip
def test_the_library_takes_the_same_headers(value: str, caplog: pytest.LogCaptureFixture) -> None:
    """It leaves out the others, with a warning that contains them."""
    parser = pytest.importorskip("opentelemetry.util.re")
    parser.parse_env_headers(value, liberal=True)
    try:
        check({"OTEL_EXPORTER_OTLP_HEADERS": value})
    except ValueError:
        assert caplog.records
    else:
        assert not caplog.records


def test_settings_reach_the_library_under_its_own_names() -> None:
    """Those of `.env` too, which the library does not read; unset ones keep its defaults."""
    given = {**ENDPOINT, "OTEL_EXPORTER_OTLP_HEADERS": "key=secret", "OTEL_TRACES_SAMPLER_ARG": 0.5}
    settings = TraceSettings.model_validate(given)
    assert settings.variables() == {name: str(value) for name, value in given.items()}
    assert "secret" not in repr(settings)


def test_while_traces_are_off_a_step_does_nothing() -> None:
    """The same object stands for all spans, and adds no header."""
    ask = question("ada", 1, "hello")
    with tracing.publishing(ask) as span:
        span.tried()
        span.stored(new=True)
        span.fail("why")
    assert span is tracing.answering(ask) is tracing.waiting("to retry") is tracing.OFF
    assert not span.headers


def test_no_process_imports_opentelemetry() -> None:
    """None of their modules does; the integration tests say the same of processes that run."""
    code = (
        "import sys, bots.slack.run, bots.discord.run, bots.gateway.run, bots.terminal.run, "
        "dataflow.run, dataflow.recorder.run, ops.up; "
        "print([m for m in sys.modules if m.split('.')[0] == 'opentelemetry' "
        "or m == 'shared.traces.export'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
