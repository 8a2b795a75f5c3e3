"""What of the Slack SDK's own log lines an operator reads."""

import logging

import aiohttp
import pytest

from bots.slack.api import quiet_logger


def logged(caplog: pytest.LogCaptureFixture, error: Exception) -> str:
    try:
        raise error
    except type(error):
        quiet_logger().exception("Failed to run message listeners: %s", "the whole envelope")
    return logging.Formatter().format(caplog.records[-1])


def test_a_call_that_failed_within_the_sdk_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    text = logged(caplog, aiohttp.ServerDisconnectedError())
    assert text.endswith("could not reach Slack and is watched: ServerDisconnectedError")
    assert len(text.splitlines()) == 1


def test_a_defect_within_the_sdk_keeps_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    assert "Traceback" in logged(caplog, KeyError("type"))
