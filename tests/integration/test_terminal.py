"""The terminal chat as a process of its own: through pipes, and on a pseudo-terminal."""

import asyncio
import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from bots.terminal.screen import plain
from shared.messages import Ask, Reset, Stop
from tests.fakes.flow import FakeFlow

WAIT_S = 20.0
"""Generous: a loaded machine is no failure."""

PROGRAM = (
    "import sys; from bots.terminal.run import main; from shared.settings import Settings; "
    "sys.exit(main(Settings(), sys.argv[1]))"
)
LIMIT = 100_000


@pytest.fixture
async def flow(nats: Any) -> AsyncIterator[FakeFlow]:
    """What answers."""
    flow = await FakeFlow.start(nats.url)
    yield flow
    await flow.stop()


@pytest.fixture
def environment(nats: Any, tmp_path: Path) -> dict[str, str]:
    """A chat's environment: the test's server and data folder, and a configured model."""
    return {
        **os.environ,
        "NATS_URL": nats.url,
        "THREADWAX_HOME": str(tmp_path / "home"),
        "OPENAI_API_KEY": "test",
        "TERM": "xterm",
        "COLUMNS": "80",
    }


async def piped(
    environment: dict[str, str], lines: bytes, user: str = "ada"
) -> tuple[int | None, str, str]:
    """Exit code, standard output and standard error of a chat with these lines."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, user),
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(WAIT_S):
        out, err = await process.communicate(lines)
    return process.returncode, out.decode(), err.decode()


class Typed:
    """A chat on a pseudo-terminal: what is typed, and what stands there."""

    def __init__(self, environment: dict[str, str], user: str = "ada") -> None:
        self._own, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, user],
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            # Of its own, so that Ctrl-C is a signal to it and to nobody else.
            preexec_fn=_own_terminal,  # noqa: PLW1509  (no threads here)
        )
        os.close(theirs)
        os.set_blocking(self._own, False)
        self.raw = ""

    @property
    def seen(self) -> str:
        """All that was written, without control sequences."""
        return plain(self.raw.replace("\r", ""))

    def type(self, text: str) -> None:
        os.write(self._own, text.encode())

    async def until(self, pattern: str) -> None:
        """Waits until the pattern was written."""
        try:
            async with asyncio.timeout(WAIT_S):
                while not re.search(pattern, self.seen):
                    self._read()
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"no {pattern!r} in {self.seen!r}") from None

    async def ended(self) -> int:
        """The exit code, waited for."""
        async with asyncio.timeout(WAIT_S):
            while self.process.poll() is None:
                self._read()
                await asyncio.sleep(0.01)
        self._read()
        return self.process.returncode

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            self.raw += os.read(self._own, 1 << 16).decode(errors="replace")

    def close(self) -> None:
        """Ends it whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(WAIT_S)
        os.close(self._own)


def _own_terminal() -> None:
    os.setsid()
    os.close(os.open(os.ttyname(0), os.O_RDWR))  # the first one opened becomes the controlling one


@pytest.fixture
def typed(environment: dict[str, str], flow: FakeFlow) -> Iterator[Typed]:
    """A chat that a person types in."""
    del flow
    chat = Typed(environment)
    yield chat
    chat.close()


# --- piped --------------------------------------------------------------------------------------


async def test_each_line_is_answered_in_its_turn(
    environment: dict[str, str], flow: FakeFlow
) -> None:
    """Only answers stand on standard output; empty lines are skipped; the end of input ends it."""
    code, out, err = await piped(environment, b"one\n\n  \ntwo\r\nthree")
    assert (code, out, err) == (0, "echo one\necho two\necho three\n", "")
    asks = [event for event in flow.events if isinstance(event, Ask)]
    assert [ask.text for ask in asks] == ["one", "two", "three"]
    assert {ask.place.audience for ask in asks} == {"direct"}
    assert len({ask.id for ask in asks}) == 3


async def test_commands_work_in_a_pipe(environment: dict[str, str], flow: FakeFlow) -> None:
    """A command is answered where an answer would stand; what follows /quit is not read."""
    code, out, _ = await piped(environment, b"/help\n/nope\n/reset\nhi\n/quit\nnever\n")
    assert code == 0
    assert "/reset" in out.split("\n", 3)[2]
    assert "There is no command /nope. /help lists them.\nA new conversation begins.\n" in out
    assert out.endswith("echo hi\n")
    assert any(isinstance(event, Reset) for event in flow.events)


async def test_a_path_is_a_question(environment: dict[str, str], flow: FakeFlow) -> None:
    """What begins with a slash and is no word is asked."""
    del flow
    _, out, _ = await piped(environment, b"/etc/hosts is what?\n")
    assert out == "echo /etc/hosts is what?\n"


async def test_a_failure_notice_is_an_answer(environment: dict[str, str], flow: FakeFlow) -> None:
    """A failed answer reads in plain words, and the next line is asked."""
    del flow
    code, out, _ = await piped(environment, b"fail\nnext\n")
    assert (code, out) == (0, "The model cannot be reached.\necho next\n")


async def test_escape_sequences_never_come_through(
    environment: dict[str, str], flow: FakeFlow
) -> None:
    """A model cannot write control sequences to who reads the answers."""
    del flow
    _, out, _ = await piped(environment, b"raw\n")
    assert out == FakeFlow.RAW_SHOWN + "\n"


async def test_a_too_long_line_is_refused_in_words(
    environment: dict[str, str], flow: FakeFlow
) -> None:
    """It is told and not asked, however long it is; the next line is asked."""
    lines = b"x" * (LIMIT + 1) + b"\n" + b"y" * 1_000_000 + b"\nnext\n"
    code, out, _ = await piped(environment, lines)
    first, second, third, _ = out.split("\n")
    assert code == 0
    assert "has 100,001 characters" in first
    assert "more than 100,000 characters" in second
    assert third == "echo next"
    assert flow.asked("terminal:ada") == {"next": 1}


async def test_bytes_that_are_no_text_are_asked_all_the_same(
    environment: dict[str, str], flow: FakeFlow
) -> None:
    """Invalid UTF-8 is replaced, not a crash."""
    del flow
    code, out, _ = await piped(environment, b"caf\xe9\n")
    assert (code, out) == (0, "echo caf\ufffd\n")


async def test_without_nats_it_says_so(environment: dict[str, str]) -> None:
    """Nothing could be published: exit code 1 and one clear line."""
    code, out, err = await piped({**environment, "NATS_URL": "nats://127.0.0.1:1"}, b"hi\n")
    assert (code, out) == (1, "")
    assert "NATS at 127.0.0.1:1 cannot be used" in err
    assert "Traceback" not in err


async def test_the_demo_model_is_told_on_standard_error(
    environment: dict[str, str], flow: FakeFlow
) -> None:
    """Without a configured model one line says so, and not among the answers."""
    del flow
    environment = {**environment, "OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}
    code, out, err = await piped(environment, b"hi\n")
    assert (code, out) == (0, "echo hi\n")
    assert "demo model" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("user", ["", "u" * 300])
async def test_an_unusable_user_is_refused(environment: dict[str, str], user: str) -> None:
    """A name that no subject can carry is told, with the exit code of wrong usage."""
    code, _, err = await piped(environment, b"hi\n", user)
    assert code == 2
    assert "--user" in err


@pytest.mark.parametrize("user", ["*", "a.b", "José 😀", "x" * 200])
async def test_any_user_can_chat(environment: dict[str, str], flow: FakeFlow, user: str) -> None:
    """Odd and long names are users like others."""
    del flow
    code, out, _ = await piped(environment, b"hi\n", user)
    assert (code, out) == (0, "echo hi\n")


async def test_an_answer_of_an_earlier_chat_is_told_apart(
    environment: dict[str, str], flow: FakeFlow
) -> None:
    """What the last chat did not wait for is shown in the next, not as that one's answer."""
    chat = Typed(environment)
    try:
        await chat.until("you> ")
        chat.type("wait for me\n")
        await flow.until_asked("wait for me")
        chat.process.kill()
        await chat.ended()
    finally:
        chat.close()
    flow.release()
    code, out, err = await piped(environment, b"hi\n")
    assert (code, out) == (0, "echo hi\n")
    if "earlier" not in err:  # it came after this chat's end: then the next one shows it
        _, _, err = await piped(environment, b"hi\nagain\n")
    assert "Answer to your earlier question «wait for me»:\necho wait for me" in err


# --- typed --------------------------------------------------------------------------------------


async def test_a_person_chats(typed: Typed) -> None:
    """A greeting, a prompt, an answer that stands there once, and Ctrl-D leaves."""
    await typed.until("/help lists the commands(?s:.*)you> ")
    typed.type("good day\n")
    await typed.until("echo good day(?s:.*)you> ")
    typed.type("\x04")
    assert await typed.ended() == 0
    assert typed.seen.count("echo good day") == 1


async def test_ctrl_c_stops_the_answer_and_the_chat_goes_on(typed: Typed, flow: FakeFlow) -> None:
    """What was said so far shows while it grows; Ctrl-C asks for its end and keeps the chat."""
    await typed.until("you> ")
    typed.type("stoppable\n")
    await typed.until("said so far")
    typed.type("\x03")
    await typed.until("then stopped(?s:.*)you> ")
    stop = next(event for event in flow.events if isinstance(event, Stop))
    assert stop.prompt_id == (await flow.until_asked("stoppable")).id
    typed.type("go on\n")
    await typed.until("echo go on")


async def test_ctrl_c_twice_at_the_prompt_leaves(typed: Typed) -> None:
    """The first one only tells how to leave."""
    await typed.until("you> ")
    typed.type("\x03")
    await typed.until("Ctrl-C again")
    assert typed.process.poll() is None
    typed.type("\x03")
    assert await typed.ended() == 0


async def test_ctrl_c_twice_leaves_an_answer_that_does_not_come(typed: Typed) -> None:
    """Nobody is locked in with a dataflow that is down."""
    await typed.until("you> ")
    typed.type("wait\n")
    await typed.until("thinking")
    typed.type("\x03")
    await asyncio.sleep(0.2)  # two signals at once are one
    typed.type("\x03")
    await typed.until("shown in your next chat")
    assert await typed.ended() == 0


async def test_escape_sequences_never_reach_a_terminal(typed: Typed) -> None:
    """Neither while it grows nor formatted does a model's control sequence come through."""
    await typed.until("you> ")
    typed.type("raw\n")
    await typed.until("plain red end")
    assert "\x1b]0;" not in typed.raw
    assert "\x9b" not in typed.raw


async def test_sigterm_leaves_at_once(typed: Typed) -> None:
    """A chat that waits for a line ends when it is told to."""
    await typed.until("you> ")
    began = time.monotonic()
    typed.process.send_signal(signal.SIGTERM)
    assert await typed.ended() == 128 + signal.SIGTERM
    assert time.monotonic() - began < WAIT_S / 2


async def test_a_second_chat_of_the_same_user_is_told_to_be_another(
    typed: Typed, environment: dict[str, str]
) -> None:
    """Two would take each other's answers; another user chats beside the first."""
    await typed.until("you> ")
    code, out, err = await piped(environment, b"hi\n")
    assert (code, out) == (1, "")
    assert err == f"a chat as 'ada' is already open (pid {typed.process.pid}): use --user\n"
    code, out, _ = await piped(environment, b"hi\n", "bob")
    assert (code, out) == (0, "echo hi\n")
