"""How the Slack SDK's own log lines look to an operator."""

import logging
from pathlib import Path

import pytest
from slack_sdk.socket_mode.aiohttp import SocketModeClient

from bots.slack.api import client_of, new_session, quiet_logger

NOBODY_THERE = "http://127.0.0.1:1/"


def last_line(caplog: pytest.LogCaptureFixture) -> str:
    return logging.Formatter().format(caplog.records[-1])


async def test_a_failed_reconnection_of_the_sdk_is_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with new_session() as session:
        web = client_of(None, NOBODY_THERE, session)
        client = SocketModeClient("xapp-1-secret", web_client=web, logger=quiet_logger())
        await client.run_message_listeners({"type": "disconnect"}, "the whole envelope")
        await client.close()
    text = last_line(caplog)
    assert text.endswith("could not reach Slack: ClientConnectorError")
    assert len(text.splitlines()) == 1


def test_an_error_of_our_own_keeps_its_text_and_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    try:
        Path("/nowhere/at/all").read_bytes()
    except OSError:
        quiet_logger().exception("Failed to run a listener")
    text = last_line(caplog)
    assert "Failed to run a listener" in text
    assert "Traceback" in text
