"""The terminal chat as a process of its own, through pipes. Typing is in `test_typed_chat.py`."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared.messages import Ask, Reset
from tests.fakes.flow import FakeFlow
from tests.fixtures_terminal import PROGRAM, chat

WAIT_S = 20.0
"""Generous: a loaded machine is no failure."""

LIMIT = 100_000


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


async def test_each_line_is_answered_in_its_turn(
    chat_environment: dict[str, str], flow: FakeFlow
) -> None:
    """Only answers stand on standard output; empty lines are skipped; the end of input ends it."""
    code, out, err = await piped(chat_environment, b"one\n\n  \ntwo\r\nthree")
    assert (code, out, err) == (0, "echo one\necho two\necho three\n", "")
    asks = [event for event in flow.events if isinstance(event, Ask)]
    assert [ask.text for ask in asks] == ["one", "two", "three"]
    assert {ask.place.audience for ask in asks} == {"direct"}
    assert len({ask.id for ask in asks}) == 3


async def test_commands_work_in_a_pipe(chat_environment: dict[str, str], flow: FakeFlow) -> None:
    """A command is answered where an answer would stand; what follows /quit is not read."""
    code, out, _ = await piped(chat_environment, b"/help\n/nope\n/reset\nhi\n/quit\nnever\n")
    assert code == 1  # for the one that does not exist
    assert "/reset  " in out
    assert "There is no command /nope. /help lists them.\nA new conversation begins.\n" in out
    assert out.endswith("echo hi\n")
    assert any(isinstance(event, Reset) for event in flow.events)


async def test_words_that_leave_other_programs_are_questions_in_a_pipe(
    chat_environment: dict[str, str], flow: FakeFlow
) -> None:
    """A file's lines are questions; only commands with a slash are commands."""
    del flow
    code, out, _ = await piped(chat_environment, b"exit\nhi\n")
    assert (code, out) == (0, "echo exit\necho hi\n")


async def test_a_path_is_a_question(chat_environment: dict[str, str], flow: FakeFlow) -> None:
    """What begins with a slash and is no word is asked."""
    del flow
    _, out, _ = await piped(chat_environment, b"/etc/hosts is what?\n")
    assert out == "echo /etc/hosts is what?\n"


async def test_a_failure_notice_is_an_answer(
    chat_environment: dict[str, str], flow: FakeFlow
) -> None:
    """It reads in plain words, the next line is asked, and the exit code says that one failed."""
    del flow
    code, out, _ = await piped(chat_environment, b"fail\nnext\n")
    assert (code, out) == (1, "The model cannot be reached.\necho next\n")


async def test_escape_sequences_never_come_through(
    chat_environment: dict[str, str], flow: FakeFlow
) -> None:
    """A model cannot write control sequences to who reads the answers."""
    del flow
    _, out, _ = await piped(chat_environment, b"raw\n")
    assert out == FakeFlow.RAW_SHOWN + "\n"


async def test_a_too_long_line_is_refused_in_words(
    chat_environment: dict[str, str], flow: FakeFlow
) -> None:
    """It is told and not asked, however long it is; the next line is asked."""
    lines = b"x" * (LIMIT + 1) + b"\n" + b"y" * 1_000_000 + b"\nnext\n"
    code, out, _ = await piped(chat_environment, lines)
    first, second, third, _ = out.split("\n")
    assert code == 1
    assert "has 100,001 characters" in first
    assert "more than 100,000 characters" in second
    assert third == "echo next"
    assert flow.asked("terminal:ada") == {"next": 1}


async def test_bytes_that_are_no_text_are_asked_all_the_same(
    chat_environment: dict[str, str], flow: FakeFlow
) -> None:
    """Invalid UTF-8 is replaced, not a crash."""
    del flow
    code, out, _ = await piped(chat_environment, b"caf\xe9\n")
    assert (code, out) == (0, "echo caf\ufffd\n")


async def test_without_nats_it_says_so(chat_environment: dict[str, str]) -> None:
    """Nothing could be published: exit code 1 and one clear line."""
    code, out, err = await piped({**chat_environment, "NATS_URL": "nats://127.0.0.1:1"}, b"hi\n")
    assert (code, out) == (1, "")
    assert "NATS at 127.0.0.1:1 cannot be used" in err
    assert "Traceback" not in err


async def test_the_demo_model_is_told_on_standard_error(
    chat_environment: dict[str, str], flow: FakeFlow
) -> None:
    """Without a configured model one line says so, and not among the answers."""
    del flow
    chat_environment = {**chat_environment, "OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}
    code, out, err = await piped(chat_environment, b"hi\n")
    assert (code, out) == (0, "echo hi\n")
    assert "demo model" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("user", ["", "u" * 300])
async def test_an_unusable_user_is_refused(chat_environment: dict[str, str], user: str) -> None:
    """A name that no subject can carry is told, with the exit code of wrong usage."""
    code, _, err = await piped(chat_environment, b"hi\n", user)
    assert code == 2
    assert "--user" in err


@pytest.mark.parametrize("user", ["*", "a.b", "José 😀", "x" * 200])
async def test_any_user_can_chat(
    chat_environment: dict[str, str], flow: FakeFlow, user: str
) -> None:
    """Odd and long names are users like others."""
    del flow
    code, out, _ = await piped(chat_environment, b"hi\n", user)
    assert (code, out) == (0, "echo hi\n")


async def test_an_answer_of_an_earlier_chat_is_told_apart(
    chat_environment: dict[str, str], flow: FakeFlow
) -> None:
    """What the last chat did not wait for is shown in the next, not as that one's answer."""
    with chat(chat_environment) as typed:
        await typed.until("you>")
        typed.type("wait for me\r")
        await flow.until_asked("wait for me")
        typed.process.kill()
        await typed.ended()
    flow.release()
    code, out, err = await piped(chat_environment, b"hi\n")
    assert (code, out) == (0, "echo hi\n")
    if "earlier" not in err:  # it came after this chat's end: then the next one shows it
        _, _, err = await piped(chat_environment, b"hi\nagain\n")
    assert "Answer to your earlier question «wait for me»:\necho wait for me" in err


async def test_sigterm_ends_a_chat_whose_input_stays_open(
    chat_environment: dict[str, str], flow: FakeFlow
) -> None:
    """A read that waits for input does not make the interpreter abort at its end."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "ada"],
        env=chat_environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdin
        process.stdin.write(b"hi\n")
        process.stdin.flush()
        await flow.until_asked("hi")
        process.send_signal(signal.SIGTERM)
        err = await asyncio.to_thread(process.stderr.read) if process.stderr else b""
        assert await asyncio.to_thread(process.wait, WAIT_S) == 128 + signal.SIGTERM
        assert err == b""
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("closed", ["<&-", "<&- >&-", ">&-"])
async def test_closed_standard_streams_are_no_defect(
    chat_environment: dict[str, str], flow: FakeFlow, closed: str
) -> None:
    """A chat that some supervisor started without them ends as at the end of input."""
    del flow
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", f'printf "hi\n" | ("$0" -c "$1" ada {closed})', sys.executable, PROGRAM),
        env=chat_environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(WAIT_S):
        out, err = await process.communicate()
    assert b"Traceback" not in err
    assert (process.returncode, out) == (0, b"")


async def test_a_data_folder_that_cannot_be_written_is_named(
    chat_environment: dict[str, str], tmp_path: Path
) -> None:
    """It says which folder, why, and what to do; no traceback."""
    (tmp_path / "file").write_text("")
    home = tmp_path / "file" / "home"
    code, out, err = await piped({**chat_environment, "THREADWAX_HOME": str(home)}, b"hi\n")
    assert (code, out) == (1, "")
    assert f"The data folder {home} cannot be written to (Not a directory)." in err
    assert "THREADWAX_HOME" in err
    assert err.count("\n") == 1


async def test_a_second_chat_of_the_same_user_is_offered_another_name(
    chat_environment: dict[str, str], flow: FakeFlow
) -> None:
    """Two would take each other's answers; another user chats at the same time."""
    del flow
    with chat(chat_environment) as typed:
        await typed.until("you>")
        code, out, err = await piped(chat_environment, b"hi\n")
        assert (code, out) == (1, "")
        assert f"A chat as 'ada' is already open in process {typed.process.pid}." in err
        assert " chat --user NAME\n" in err
        code, out, _ = await piped(chat_environment, b"hi\n", "bob")
        assert (code, out) == (0, "echo hi\n")


async def test_files_of_the_chat_are_private(
    chat_environment: dict[str, str], flow: FakeFlow
) -> None:
    """Nobody else on the machine reads who chats here."""
    del flow
    await piped(chat_environment, b"hi\n")
    folder = Path(chat_environment["THREADWAX_HOME"]) / "terminal"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()} == {
        "ada.lock": 0o600
    }
