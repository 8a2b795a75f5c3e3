"""Every log line is valid JSON, whatever it contains."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shared.log import _json


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("caf\u00e9", "caf\u00e9"),
        (3, 3),
        (("a", None), ["a", None]),
        (ValueError("why"), "ValueError('why')"),
        ("half \ud83d a character", "half \ud83d a character"),
        ("\x1b[2J\x9b2J\x7f", "\x1b[2J\x9b2J\x7f"),
        (b"\xff no text", "b'\\xff no text'"),
    ],
)
def test_whatever_is_logged_is_one_line_of_json(value: Any, written: Any) -> None:
    """This includes lone surrogates and bytes, which the fast serializer refuses."""
    line = _json({"event": "posted", "value": value})
    assert b"\n" not in line
    assert not any(control in line for control in (b"\x1b", "\x9b".encode()))
    assert json.loads(line) == {"event": "posted", "value": written}


FOREIGN = """
import logging
from shared import log

log.set_up("info", process="x")
evil = "a\\x1b[2J\\x9b2J\\x1b]0;title\\x07b\\r\\n12:00:00 [error] forged"
log.logger().warning("refused", why=evil)
logging.getLogger("library").warning("user said %s", evil)
try:
    raise ValueError(evil)
except ValueError:
    log.logger().exception("defect")
"""


def test_untrusted_text_cannot_move_the_cursor_or_start_a_line() -> None:
    """The test uses a terminal, because log lines are colored there."""
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", FOREIGN], stderr=theirs, check=True)
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 1 << 16)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    text = shown.decode()
    assert not any(control in text for control in ("\x1b[2J", "\x9b", "\x1b]", "\x07", "\r\r"))
    assert not any(line.startswith("12:00:00 [error] forged") for line in text.splitlines())
    assert text.count("forged") == 3


FORKED = """
import logging, os, sys
from shared import log

log.set_up("info", process="up")
os.dup2(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT), 2)
log.set_up("info", process="slack")
logging.getLogger("library").warning("slow")
"""


def test_a_part_that_was_forked_from_a_terminal_logs_json_to_its_file(tmp_path: Path) -> None:
    """This includes the lines of libraries, each of which is written once."""
    ours, theirs = pty.openpty()
    log = tmp_path / "slack.log"
    subprocess.run([sys.executable, "-c", FORKED, str(log)], stderr=theirs, check=True)
    os.close(theirs)
    os.close(ours)
    (line,) = log.read_text().splitlines()
    assert json.loads(line)["event"] == "slow"
    assert json.loads(line)["process"] == "slack"


IN_THREADS = """
import logging, threading
from shared import log

log.set_up("info", process="x")
for write in (log.logger().warning, logging.getLogger("library").warning):
    thread = threading.Thread(target=write, args=("retrying",))
    thread.start()
    thread.join()
"""


def test_each_line_says_which_process_wrote_it() -> None:
    """Also one of a thread that a library started."""
    found = subprocess.run(
        [sys.executable, "-c", IN_THREADS], check=True, capture_output=True, text=True
    )
    lines = [json.loads(line) for line in found.stderr.splitlines()]
    assert [(line["process"], line["event"]) for line in lines] == [("x", "retrying")] * 2


UNWRITABLE = """
import logging
from shared import lifecycle, log

lifecycle.open_standard_streams()
log.set_up("info", process="x")
for _ in range(1000):
    log.logger().error("an event", text="x" * 100)
    logging.getLogger("lib").error("an event")
lifecycle.say("a line")
print("went on")
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file that is always full")
def test_a_log_that_cannot_be_written_ends_nothing() -> None:
    """Its disk is full."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", UNWRITABLE],
            stdout=subprocess.PIPE, stderr=full, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "went on\n")


def test_lines_appear_again_when_the_log_can_be_written_again(tmp_path: Path) -> None:
    """What was logged meanwhile is lost."""
    reading, writing = os.pipe()
    os.close(reading)
    code = UNWRITABLE + (
        "import os, sys\nos.dup2(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT), 2)\n"
        "log.logger().error('later')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "log")],
        stderr=writing, stdout=subprocess.DEVNULL, timeout=60, check=False,
    )  # fmt: skip
    os.close(writing)
    assert done.returncode == 0
    lines = (tmp_path / "log").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["later"]
