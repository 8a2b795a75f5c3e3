"""The terminal chat as a process with pipes. `test_typed_chat.py` covers typing."""

import asyncio
import signal
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bots.privacy import ALLOWED, EXPLANATION, FORBIDDEN
from bots.terminal.own_history import written
from bots.terminal.rating import LONG_REASON, NO_CORRECTION, NOTED, NOTHING_TO_RATE
from bots.terminal.wording import (
    CONFIRM_FORGET,
    EXPORT_NOTHING,
    EXPORT_UNAVAILABLE,
    EXPORTED,
    FORGET_SURELY,
)
from dataflow.recorder.history_service import HistoryService
from shared.bus import Bus
from shared.messages import Ask, Configure, Forget, Rate, Reset
from tests.fakes.flow import FakeFlow
from tests.fixtures_terminal import PROGRAM, chat
from tests.recorded import Streams, opened, record
from tests.running import ROOT

WAIT_S = 20.0
"""Long enough for a busy machine."""

LIMIT = 100_000


async def piped(
    environment: dict[str, str], lines: bytes, user: str = "ada", folder: Path | None = None
) -> tuple[int | None, str, str]:
    """Exit code, standard output and standard error of a chat with these lines."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, user),
        env=environment,
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(WAIT_S):
        out, err = await process.communicate(lines)
    return process.returncode, out.decode(), err.decode()


async def test_each_line_is_answered_in_order(
    chat_environment: dict[str, str], flow: FakeFlow
) -> None:
    """Standard output contains only answers. Empty lines are skipped, and EOF ends the chat."""
    code, out, err = await piped(chat_environment, b"one\n\n  \ntwo\r\nthree")
    assert (code, out, err) == (0, "echo one\necho two\necho three\n", "")
    asks = [event for event in flow.events if isinstance(event, Ask)]
    assert [ask.text for ask in asks] == ["one", "two", "three"]
    assert {ask.place.audience for ask in asks} == {"direct"}
    assert len({ask.id for ask in asks}) == 3


async def test_commands_work_in_a_pipe(chat_environment: dict[str, str], flow: FakeFlow) -> None:
    """The result of a command is printed like an answer. Lines after /quit are not read."""
    code, out, _ = await piped(chat_environment, b"/help\n/nope\n/reset\nhi\n/quit\nnever\n")
    assert code == 1  # because one command does not exist
    assert "/reset  " in out
    assert "There is no command /nope. /help lists them.\nA new conversation begins.\n" in out
    assert out.endswith("echo hi\n")
    assert any(isinstance(event, Reset) for event in flow.events)


async def test_privacy_explains_and_stores_a_choice(
    chat_environment: dict[str, str], flow: FakeFlow
) -> None:
    """A line that begins with it is never asked."""
    lines = b"/privacy\n/privacy what?\n/privacy training off\n/privacy training on\n"
    code, out, _ = await piped(chat_environment, lines)
    assert (code, out) == (0, f"{EXPLANATION}\n{EXPLANATION}\n{FORBIDDEN}\n{ALLOWED}\n")
    events = [event for event in flow.events if isinstance(event, Configure)]
    assert [event.settings["training"] for event in events] == ["no", "yes"]
    assert len(flow.events) == 2


async def test_the_latest_answer_is_rated_and_corrected(
    chat_environment: dict[str, str], flow: FakeFlow
) -> None:
    """A rating waits for the answer, and each one repeats what was said about it before."""
    lines = b"one\n/good\ntwo\n/bad too short\n/correct  Two, of\xc2\xa0course.\n/bad\n"
    code, out, _ = await piped(chat_environment, lines)
    noted = NOTED["/bad"], NOTED["/correct"], NOTED["/bad"]
    said = ["echo one", NOTED["/good"], "echo two", *noted]
    assert (code, out.splitlines()) == (0, said)
    asks = [event.id for event in flow.events if isinstance(event, Ask)]
    rates = [event for event in flow.events if isinstance(event, Rate)]
    assert [(rate.prompt_id, rate.thumb, rate.reason, rate.correction) for rate in rates] == [
        (asks[0], "up", "", ""),
        (asks[1], "down", "too short", ""),
        (asks[1], "down", "too short", "Two, of\xa0course."),
        (asks[1], "down", "too short", "Two, of\xa0course."),
    ]
    assert len({rate.id for rate in rates}) == 4


async def test_a_rating_without_an_answer_or_words_is_refused(
    chat_environment: dict[str, str], flow: FakeFlow
) -> None:
    """Nothing is stored, and the exit code says so. A failure notice is no answer."""
    lines = b"/good\none\n/correct\n/bad " + b"x" * 2001 + b"\nfail\n/bad\n"
    code, out, _ = await piped(chat_environment, lines)
    assert code == 1
    said = [NOTHING_TO_RATE, "echo one", NO_CORRECTION, LONG_REASON]
    assert out.splitlines()[:4] == said
    assert out.splitlines()[-1] == NOTHING_TO_RATE
    assert not any(isinstance(event, Rate) for event in flow.events)


async def test_a_person_is_forgotten_after_a_confirmation(
    chat_environment: dict[str, str], flow: FakeFlow
) -> None:
    """The chat waits until it is done, and deletes the questions that the Up key offers."""
    history = Path(chat_environment["THREADWAX_HOME"]) / "terminal" / "ada.history"
    history.parent.mkdir(parents=True)
    history.write_text('"my secret"\n')
    code, out, _ = await piped(chat_environment, b"/forget\n")
    assert (code, out) == (0, f"{CONFIRM_FORGET}\n")
    assert history.exists()
    assert flow.events == []
    code, out, _ = await piped(chat_environment, f"{FORGET_SURELY}\n".encode())
    assert (code, out) == (0, "erased\n")
    assert not history.exists()
    assert [type(event) for event in flow.events] == [Forget]


async def test_export_writes_a_file_that_only_its_owner_can_read(
    chat_environment: dict[str, str], bus: Bus, tmp_path: Path
) -> None:
    """Without a recorder, without rows, and with some; nothing is published."""
    here = tmp_path / "here"
    here.mkdir()
    environment = chat_environment | {"PYTHONPATH": str(ROOT)}

    async def export() -> tuple[int | None, str]:
        code, out, _ = await piped(environment, b"/export\n", folder=here)
        return code, out

    assert await export() == (1, f"{EXPORT_UNAVAILABLE}\n")
    engine = opened(f"sqlite:///{tmp_path / 'database.sqlite'}")
    await HistoryService(bus, engine, {}).start()
    await bus.client.flush()
    assert await export() == (0, f"{EXPORT_NOTHING}\n")
    said = Streams()
    for name in ("ada", "bob"):
        said.event(Ask, name, f"terminal:{name}", text=f"the secret of {name}")
    record(engine, *said.messages)
    code, out = await export()
    engine.dispose()
    (path,) = here.iterdir()
    assert (code, out) == (0, f"{EXPORTED.format(path=path)}\n")
    assert "the secret of ada" in path.read_text()
    assert "bob" not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_export_overwrites_nothing(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    path = written(b"one", tmp_path, now)
    with pytest.raises(FileExistsError):
        written(b"two", tmp_path, now)
    assert path.read_bytes() == b"one"


async def test_the_exit_words_of_other_programs_are_questions_in_a_pipe(
    chat_environment: dict[str, str], flow: FakeFlow
) -> None:
    """Only lines with a slash are commands."""
    del flow
    code, out, _ = await piped(chat_environment, b"exit\nhi\n")
    assert (code, out) == (0, "echo exit\necho hi\n")


async def test_a_path_is_a_question(chat_environment: dict[str, str], flow: FakeFlow) -> None:
    """Text that starts with a slash but is not a single word is asked."""
    del flow
    _, out, _ = await piped(chat_environment, b"/etc/hosts is what?\n")
    assert out == "echo /etc/hosts is what?\n"


async def test_a_failure_notice_is_printed_like_an_answer(
    chat_environment: dict[str, str], flow: FakeFlow
) -> None:
    """The next line is asked, but the exit code says that a question failed."""
    del flow
    code, out, _ = await piped(chat_environment, b"fail\nnext\n")
    assert (code, out) == (1, "The model cannot be reached.\necho next\n")


async def test_escape_sequences_are_removed_from_answers(
    chat_environment: dict[str, str], flow: FakeFlow
) -> None:
    """Control sequences from the model never reach the output."""
    del flow
    _, out, _ = await piped(chat_environment, b"raw\n")
    assert out == FakeFlow.RAW_SHOWN + "\n"


async def test_a_line_that_is_too_long_is_refused(
    chat_environment: dict[str, str], flow: FakeFlow
) -> None:
    """A line of any length over the limit is reported and not asked; the next line is asked."""
    lines = b"x" * (LIMIT + 1) + b"\n" + b"y" * 1_000_000 + b"\nnext\n"
    code, out, _ = await piped(chat_environment, lines)
    first, second, third, _ = out.split("\n")
    assert code == 1
    assert "has 100,001 characters" in first
    assert "more than 100,000 characters" in second
    assert third == "echo next"
    assert flow.asked("terminal:ada") == {"next": 1}


async def test_bytes_that_are_not_text_are_asked_anyway(
    chat_environment: dict[str, str], flow: FakeFlow
) -> None:
    """Invalid UTF-8 is replaced, and causes no crash."""
    del flow
    code, out, _ = await piped(chat_environment, b"caf\xe9\n")
    assert (code, out) == (0, "echo caf\ufffd\n")


async def test_without_nats_the_chat_exits_with_one_clear_line(
    chat_environment: dict[str, str],
) -> None:
    """Nothing can be published, so the exit code is 1."""
    code, out, err = await piped({**chat_environment, "NATS_URL": "nats://127.0.0.1:1"}, b"hi\n")
    assert (code, out) == (1, "")
    assert "NATS at 127.0.0.1:1 cannot be used" in err
    assert "Traceback" not in err


async def test_the_demo_model_is_announced_on_standard_error(
    chat_environment: dict[str, str], flow: FakeFlow
) -> None:
    """The line appears if no model is configured, and is not mixed with the answers."""
    del flow
    chat_environment = {**chat_environment, "OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}
    code, out, err = await piped(chat_environment, b"hi\n")
    assert (code, out) == (0, "echo hi\n")
    assert "demo model" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("user", ["", "u" * 300])
async def test_an_unusable_user_is_refused(chat_environment: dict[str, str], user: str) -> None:
    """An invalid name leads to the exit code for wrong usage."""
    code, _, err = await piped(chat_environment, b"hi\n", user)
    assert code == 2
    assert "--user" in err


@pytest.mark.parametrize("user", ["*", "a.b", "José 😀", "x" * 200])
async def test_users_with_unusual_names_can_chat(
    chat_environment: dict[str, str], flow: FakeFlow, user: str
) -> None:
    """Unusual and long names work like others."""
    del flow
    code, out, _ = await piped(chat_environment, b"hi\n", user)
    assert (code, out) == (0, "echo hi\n")


async def test_an_answer_to_an_earlier_chat_is_marked(
    chat_environment: dict[str, str], flow: FakeFlow
) -> None:
    """The next chat shows it, but not as the answer to its own question."""
    with chat(chat_environment) as typed:
        await typed.until("you>")
        typed.type("wait for me\r")
        await flow.until_asked("wait for me")
        typed.process.kill()
        await typed.ended()
    flow.release()
    code, out, err = await piped(chat_environment, b"hi\n")
    assert (code, out) == (0, "echo hi\n")
    if (
        "earlier" not in err
    ):  # the answer came after the end of this chat, so the next chat shows it
        _, _, err = await piped(chat_environment, b"hi\nagain\n")
    assert "Answer to your earlier question «wait for me»:\necho wait for me" in err


async def test_sigterm_ends_a_chat_whose_input_stays_open(
    chat_environment: dict[str, str], flow: FakeFlow
) -> None:
    """The interpreter exits cleanly despite the pending read."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "ada"],
        env=chat_environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdin
        process.stdin.write(b"wait\n")
        process.stdin.flush()
        await flow.until_asked("wait")
        process.send_signal(signal.SIGTERM)
        err = await asyncio.to_thread(process.stderr.read) if process.stderr else b""
        assert await asyncio.to_thread(process.wait, WAIT_S) == 128 + signal.SIGTERM
        assert err == b""
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("closed", ["<&-", "<&- >&-", ">&-"])
async def test_a_chat_without_standard_streams_ends_cleanly(
    chat_environment: dict[str, str], flow: FakeFlow, closed: str
) -> None:
    """The chat ends as it does at EOF."""
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
    """The message gives the folder, the reason and the remedy, without a traceback."""
    (tmp_path / "file").write_text("")
    home = tmp_path / "file" / "home"
    code, out, err = await piped({**chat_environment, "THREADWAX_HOME": str(home)}, b"hi\n")
    assert (code, out) == (1, "")
    assert f"The data folder {home} cannot be written to (Not a directory)." in err
    assert "THREADWAX_HOME" in err
    assert err.count("\n") == 1


async def test_a_second_chat_of_a_user_is_refused(
    chat_environment: dict[str, str], flow: FakeFlow
) -> None:
    """Two chats would take each other's answers. The message suggests another name."""
    del flow
    with chat(chat_environment) as typed:
        await typed.until("you>")
        code, out, err = await piped(chat_environment, b"hi\n")
        assert (code, out) == (1, "")
        assert f"A chat as 'ada' is already open in process {typed.process.pid}." in err
        assert " chat --user NAME\n" in err
        code, out, _ = await piped(chat_environment, b"hi\n", "bob")
        assert (code, out) == (0, "echo hi\n")


async def test_the_files_of_a_chat_are_private(
    chat_environment: dict[str, str], flow: FakeFlow
) -> None:
    """Nobody else on the machine can see who chats here."""
    del flow
    await piped(chat_environment, b"hi\n")
    folder = Path(chat_environment["THREADWAX_HOME"]) / "terminal"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()} == {
        "ada.lock": 0o600
    }
