"""The terminal chat on a pseudo-terminal: typed keys and the resulting screen."""

import asyncio
import re
import shutil
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bots.terminal.wording import NO_PROGRESS
from shared.messages import Ask, Reset, Stop
from tests.fakes.flow import FakeFlow
from tests.fixtures_terminal import PROGRAM, chat
from tests.terminals import PASTE, Tmux, Typed

Environment = dict[str, str]

UP = "\x1b[A"
ALT_ENTER = "\x1b\r"
CTRL_C, CTRL_D, CTRL_J, CTRL_R = "\x03", "\x04", "\n", "\x12"


@pytest.fixture
def typed(chat_environment: Environment, flow: FakeFlow) -> Iterator[Typed]:
    """A running chat that a test types into."""
    del flow
    with chat(chat_environment) as typed:
        yield typed


def asked(flow: FakeFlow) -> list[str]:
    return [event.text for event in flow.events if isinstance(event, Ask)]


async def test_a_short_chat_leaves_a_tidy_terminal(typed: Typed) -> None:
    """The chat shows a greeting, a prompt and the answer once; Ctrl-D ends it."""
    await typed.until("/help lists the commands(?s:.*)you>")
    typed.type("good day\r")
    await typed.until("you> good day\necho good day\n\nyou>$")
    typed.type(CTRL_D)
    assert await typed.ended() == 0
    assert typed.shown.endswith("you> good day\necho good day")
    assert typed.modes_now() == typed.modes


# --- typing and pasting -----------------------------------------------------------------------


@pytest.mark.parametrize("key", [ALT_ENTER, CTRL_J])
async def test_a_question_can_have_several_lines(typed: Typed, flow: FakeFlow, key: str) -> None:
    """Two keys can start a new line; Enter sends all lines."""
    await typed.until("you>")
    typed.type(f"one{key}two")
    await typed.until("you> one\n     two")
    assert asked(flow) == []
    typed.type("\r")
    await flow.until_asked("one\ntwo")
    await typed.until("you> one\n     two\necho one")


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
async def test_pasted_lines_are_one_question(typed: Typed, flow: FakeFlow, end: str) -> None:
    """Pasted lines are sent with Enter; tabs and control characters do no harm."""
    await typed.until("you>")
    typed.type(PASTE.format(f"if x:{end}\treturn 1{end}"))
    await typed.until("if x:")
    typed.type("# end")
    await typed.until("# end")
    assert asked(flow) == []
    typed.type("\r")
    await flow.until_asked("if x:\n\treturn 1\n# end")


async def test_lines_that_are_pasted_without_brackets_are_asked_in_order(
    typed: Typed, flow: FakeFlow
) -> None:
    """A terminal without bracketed paste sends Enter for each line, and no line is lost."""
    await typed.until("you>")
    typed.type("one\rtwo\rthree\r")
    await typed.until("echo three")
    assert asked(flow) == ["one", "two", "three"]
    assert re.findall(r"you> (\w+)\necho (\w+)", typed.shown) == [
        (word, word) for word in ("one", "two", "three")
    ]


async def test_a_question_typed_before_the_prompt_is_asked(
    chat_environment: Environment, flow: FakeFlow
) -> None:
    """Until the editor runs, the terminal turns Enter into a line feed, which counts as Enter."""
    with chat(chat_environment, typed_ahead="early\rbird") as typed:
        await typed.until("echo early(?s:.*)you> bird$")
        assert asked(flow) == ["early"]


async def test_a_large_paste_is_one_question(typed: Typed, flow: FakeFlow) -> None:
    """The paste has the maximum length of a question, and no character is lost."""
    text = "\n".join(f"line {number} of a large file, 日本語 😀" for number in range(2000))
    await typed.until("you>")
    typed.type(PASTE.format(text))
    await typed.until("line 1999 of")
    typed.type("\r")
    await typed.until("echo line 0 of")
    await flow.until_asked(text)


async def test_a_question_that_is_too_long_returns_to_the_line(
    typed: Typed, flow: FakeFlow
) -> None:
    """The reason is shown, and the question can be shortened."""
    await typed.until("you>")
    typed.type(PASTE.format("x" * 100_001))
    typed.type("\r")
    await typed.until("has 100,001 characters")
    typed.type("\x7f\r")  # the backspace key
    await typed.until("thinking")
    await flow.until_asked("x" * 100_000)


async def test_bytes_that_are_not_text_are_asked(typed: Typed, flow: FakeFlow) -> None:
    """Invalid bytes become U+FFFD, which is valid in every message."""
    await typed.until("you>")
    typed.type("caf\udce9\r")
    await flow.until_asked("caf\ufffd")


@pytest.mark.parametrize("word", ["exit", "quit", ":q", " exit() "])
async def test_the_exit_words_of_other_programs_end_the_chat(
    typed: Typed, flow: FakeFlow, word: str
) -> None:
    """The word is alone on its line. A note says how to ask it as a question."""
    await typed.until("you>")
    typed.type("how do I exit vim?\r")
    await typed.until("echo how do I exit vim")
    typed.type(f"{word}\r")
    await typed.until("write it in a sentence")
    assert await typed.ended() == 0
    assert asked(flow) == ["how do I exit vim?"]


async def test_commands_are_run_and_not_asked(typed: Typed, flow: FakeFlow) -> None:
    """An unknown command is reported."""
    await typed.until("you>")
    typed.type("/help\r/nope\r/reset\r")
    await typed.until("no command /nope(?s:.*)A new conversation begins")
    assert [type(event) for event in flow.events] == [Reset]
    typed.type("/quit\r")
    assert await typed.ended() == 0


# --- Ctrl-C and Ctrl-D ------------------------------------------------------------------------


async def test_ctrl_c_clears_the_line(typed: Typed, flow: FakeFlow) -> None:
    """As in a shell, the old line remains above the new one."""
    await typed.until("you>")
    typed.type("never mind")
    await typed.until("never mind")
    typed.type(CTRL_C)
    await typed.until(r"you> never mind\^C\nyou>$")
    typed.type("go on\r")
    await typed.until("echo go on")
    assert asked(flow) == ["go on"]


@pytest.mark.parametrize("by_signal", [False, True])
async def test_ctrl_c_twice_on_an_empty_line_leaves(typed: Typed, by_signal: bool) -> None:
    """The first Ctrl-C shows how to leave."""
    await typed.until("you>")
    for shown in ("Ctrl-C again leaves", ""):
        if by_signal:
            typed.process.send_signal(signal.SIGINT)
        else:
            typed.type(CTRL_C)
        if shown:
            await typed.until(shown)
            assert typed.process.poll() is None
    assert await typed.ended() == 0


async def test_a_second_ctrl_c_much_later_only_warns_again(
    chat_environment: Environment, flow: FakeFlow
) -> None:
    """The hint has disappeared, so the first Ctrl-C no longer counts."""
    del flow
    quick = (
        "import bots.terminal.platform as p, bots.terminal.chat_window as w;"
        "p.LEAVE_WITHIN_S = w._HINT_S = 0.1"
    )
    with chat(chat_environment, set_up=quick) as typed:
        await typed.until("you>")
        for _ in range(3):
            typed.type(CTRL_C)
            await typed.until("Ctrl-C again leaves")
            await typed.until_gone("Ctrl-C again leaves")
        assert typed.process.poll() is None


async def test_ctrl_c_stops_the_answer_and_the_chat_continues(typed: Typed, flow: FakeFlow) -> None:
    """The text so far remains visible."""
    await typed.until("you>")
    typed.type("stoppable\r")
    await typed.until("said so far")
    typed.type(f"a thought{CTRL_C}")
    await typed.until("said so far, then stopped(?s:.*)you> a thought$")
    stop = next(event for event in flow.events if isinstance(event, Stop))
    assert stop.prompt_id == (await flow.until_asked("stoppable")).id
    typed.type("\r")
    await typed.until("echo a thought")
    assert typed.shown.count("said so far") == 1


async def test_ctrl_c_twice_leaves_while_no_answer_comes(typed: Typed) -> None:
    """Nobody is trapped in the chat while the dataflow is down."""
    await typed.until("you>")
    typed.type("wait\r")
    await typed.until("thinking")
    typed.type(CTRL_C)
    typed.type(CTRL_C)
    await typed.until("shown in your next chat")
    assert await typed.ended() == 0


async def test_ctrl_d_leaves_only_on_an_empty_line(typed: Typed, flow: FakeFlow) -> None:
    """On a line with text it deletes the character at the cursor, as in a shell."""
    await typed.until("you>")
    typed.type(f"abc{CTRL_D}")
    typed.type(f"\x02{CTRL_D}\r")  # Ctrl-B moves the cursor back by one
    await flow.until_asked("ab")
    await typed.until("echo ab")
    typed.type(CTRL_D)
    assert await typed.ended() == 0


async def test_ctrl_d_during_an_answer_leaves_after_it(typed: Typed, flow: FakeFlow) -> None:
    """Questions that were typed before it are still asked, as in a shell."""
    await typed.until("you>")
    typed.type(f"wait\rnext\r{CTRL_D}")
    await typed.until("leaving after this answer")
    flow.release()
    assert await typed.ended() == 0
    assert typed.shown.endswith("you> wait\necho wait\n\nyou> next\necho next")


# --- while an answer grows --------------------------------------------------------------------


async def test_text_can_be_typed_during_an_answer(typed: Typed, flow: FakeFlow) -> None:
    """The text stays in the line. Enter queues it as a question until the answer is complete."""
    await typed.until("you>")
    typed.type("wait\r")
    await typed.until("thinking")
    typed.type("second\rthi")
    await typed.until("next: second\nyou> thi$")
    assert asked(flow) == ["wait"]
    flow.release()
    await typed.until("you> wait\necho wait\n\nyou> second\necho second\n\nyou> thi$")


async def test_a_stop_returns_queued_questions_to_the_line(typed: Typed, flow: FakeFlow) -> None:
    """A person who stops an answer may no longer want to ask them, but they are not lost."""
    await typed.until("you>")
    typed.type("stoppable\r")
    await typed.until("said so far")
    typed.type("second\rthird")
    await typed.until("next: second")
    typed.type(CTRL_C)
    await typed.until("then stopped\n\nyou> second\n     third$")
    assert asked(flow) == ["stoppable"]


@pytest.mark.parametrize("columns", [40, 80, 120])
async def test_a_growing_answer_is_shown_once(
    chat_environment: Environment, flow: FakeFlow, columns: int
) -> None:
    """Each paragraph, item and line of code appears once, in order, even after scrolling."""
    del flow
    with chat(chat_environment, columns=columns) as typed:
        await typed.until("you>")
        typed.type("grow\r")
        await typed.until(r"end of it\.\n\nyou>$")
        numbers = [int(number) for number in re.findall(r"part\s+(\d+)", typed.shown)]
        assert numbers == list(range(FakeFlow.GROWN_PARTS))
        assert "Ctrl-C stops" not in typed.shown


async def test_an_answer_that_begins_again_says_so(typed: Typed) -> None:
    """A retried model call writes another text, and printed text cannot be removed."""
    await typed.until("you>")
    typed.type("retried\r")
    await typed.until("First try\\.\n\nThe answer begins again:\nSecond try\\.\n\nyou>$")


async def test_escape_sequences_never_reach_a_terminal(typed: Typed) -> None:
    """Sequences are removed while an answer grows and when it is complete."""
    await typed.until("you>")
    typed.type("raw\r")
    await typed.until("plain red end")
    assert "\x1b]0;" not in typed.raw
    assert "\x9b" not in typed.raw
    assert "\u202e" not in typed.raw


async def test_a_late_answer_keeps_what_is_being_typed(
    chat_environment: Environment, flow: FakeFlow
) -> None:
    """The answer is shown above the line, together with its question."""
    with chat(chat_environment) as typed:
        await typed.until("you>")
        typed.type("wait for me\r")
        await flow.until_asked("wait for me")
        typed.type(CTRL_C)
        typed.type(CTRL_C)
        await typed.ended()
    with chat(chat_environment) as typed:
        await typed.until("you>")
        typed.type("half a qu")
        await typed.until("half a qu")
        flow.release()
        await typed.until("earlier question «wait for me»:\necho wait for me\n\nyou> half a qu$")


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
async def test_resizing_the_window_repeats_nothing(
    chat_environment: Environment, flow: FakeFlow, tmp_path: Path
) -> None:
    """Finished text, growing text and the line appear once, however fast the size changes."""
    del flow
    command = [sys.executable, "-c", PROGRAM, "ada"]
    with Tmux(tmp_path / "socket", command, chat_environment) as tmux:
        await tmux.until("you>")
        tmux.type("grow\r")
        await tmux.until("part 5")
        for columns, rows in ((60, 24), (40, 24), (120, 30), (50, 20), (100, 24)):
            tmux.resize(columns, rows)
            await asyncio.sleep(0.1)
        await tmux.until("The end of it")
        tmux.type("stoppable\r")
        await tmux.until("said so far")
        tmux.type("a line that is longer than the window is going to be, " * 2 + "x")
        await tmux.until("x$")
        for columns in (60, 40, 90, 45):
            tmux.resize(columns, 24)
            await asyncio.sleep(0.7)
        await tmux.until(r"x$")
        shown = tmux.shown
        parts = [int(number) for number in re.findall(r"part\s+(\d+)", shown)]
        assert parts == list(range(FakeFlow.GROWN_PARTS))
        assert shown.count("said so far") == shown.count("Ctrl-C stops") == 1
        assert shown.count("you> a line") == 1
        assert shown.count("you> grow") == 1


# --- reasons for a wait -----------------------------------------------------------------------


async def test_the_reason_for_a_wait_is_one_line_that_text_replaces(
    typed: Typed, flow: FakeFlow
) -> None:
    """The reason comes from the dataflow, and a newer reason replaces it."""
    await typed.until("you>")
    typed.type("slow\r")
    await typed.until(FakeFlow.REASONS[0])
    await typed.until(FakeFlow.REASONS[1])
    assert FakeFlow.REASONS[0] not in typed.shown
    flow.release()
    await typed.until("echo slow\n\nyou>$")
    assert FakeFlow.REASONS[1] not in typed.shown


async def test_the_reason_is_shown_while_an_earlier_answer_is_pending(
    chat_environment: Environment, flow: FakeFlow
) -> None:
    """Otherwise the dataflow would seem to be down."""
    with chat(chat_environment) as typed:
        await typed.until("you>")
        typed.type("wait\r")
        before = await flow.until_asked("wait")
        typed.type(CTRL_C)
        typed.type(CTRL_C)
        await typed.ended()
    flow.after = before.id
    with chat(chat_environment) as typed:
        await typed.until("you>")
        typed.type("slow\r")
        await typed.until(FakeFlow.REASONS[0])


QUICK = (
    "import bots.terminal.platform as p, bots.terminal.run as r; "
    "p.NO_PROGRESS_S = r.PATIENCE_S = 0.5"
)


async def test_a_dataflow_that_reports_nothing_is_named(
    chat_environment: Environment, flow: FakeFlow
) -> None:
    """The message says what happens to the question, and what to do."""
    with chat(chat_environment, set_up=QUICK) as typed:
        await typed.until("you>")
        typed.type("wait\r")
        words = "\\s+".join(map(re.escape, NO_PROGRESS.split()))
        await typed.until(words)
        flow.release()
        await typed.until("echo wait\n\nyou>$")
        assert not re.search(words, typed.shown)


async def test_a_question_that_cannot_be_published_returns_to_the_line(
    chat_environment: Environment, flow: FakeFlow, nats: Any
) -> None:
    """When NATS is back, Enter asks it again."""
    with chat(chat_environment, set_up=QUICK) as typed:
        await typed.until("you>")
        nats.stop()
        typed.type("precious\r")
        await typed.until("Not sent: (?s:.*)you> precious$")
        nats.start()
        await typed.until("nats is back")
        typed.type("\r")
        await typed.until("echo precious")
        assert asked(flow) == ["precious"]


async def test_a_question_that_was_stored_after_all_leaves_the_line(
    chat_environment: Environment, flow: FakeFlow, nats: Any
) -> None:
    """It is still buffered when NATS is back, so pressing Enter would ask it a second time."""
    with chat(chat_environment, set_up=QUICK) as typed:
        await typed.until("you>")
        nats.stop()
        typed.type("precious\r")
        await typed.until("Not sent: (?s:.*)you> precious$")
        nats.start()
        await typed.until("echo precious(?s:.*)you>$")
        assert asked(flow) == ["precious"]


# --- history ----------------------------------------------------------------------------------


async def test_questions_are_stored_in_a_private_file(
    chat_environment: Environment, flow: FakeFlow
) -> None:
    """The next chat can recall them. A question that starts with a space is not stored."""
    del flow
    with chat(chat_environment) as typed:
        await typed.until("you>")
        typed.type("plain\r")
        await typed.until("echo plain")
        typed.type(f"two{CTRL_J}lines\r")
        await typed.until("echo two")
        typed.type(" secret\r")
        await typed.until("echo  ?secret")
        typed.type(CTRL_D)
        await typed.ended()
    path = Path(chat_environment["THREADWAX_HOME"]) / "terminal" / "ada.history"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == '"plain"\n"two\\nlines"\n'
    with chat(chat_environment) as typed:
        await typed.until("you>")
        typed.type(UP)
        await typed.until("you> two\n     lines$")
        typed.type(CTRL_C)
        await typed.until("\\^C\nyou>$")
        typed.type(f"{CTRL_R}pla")
        await typed.until("you> plain")
        typed.type("\r\r")
        await typed.until("echo plain")


async def test_the_history_can_be_turned_off(chat_environment: Environment, flow: FakeFlow) -> None:
    """With THREADWAX_CHAT_HISTORY=0 no file is created; Up still recalls questions of this chat."""
    del flow
    with chat({**chat_environment, "THREADWAX_CHAT_HISTORY": "0"}) as typed:
        await typed.until("you>")
        typed.type("hello\r")
        await typed.until("echo hello")
        typed.type(UP)
        await typed.until("you> hello$")
    folder = Path(chat_environment["THREADWAX_HOME"]) / "terminal"
    assert [file.name for file in folder.iterdir()] == ["ada.lock"]


# --- signals, and simple terminals --------------------------------------------------------------


async def test_sigterm_ends_the_chat_at_once_and_loses_no_text(typed: Typed) -> None:
    """The typed text remains visible, and the terminal is restored."""
    await typed.until("you>")
    typed.type("wait\rqueued\rin the line")
    await typed.until("next: queued\nyou> in the line$")
    typed.process.send_signal(signal.SIGTERM)
    assert await typed.ended() == 128 + signal.SIGTERM
    assert typed.shown.endswith("Not asked: queued\nNot asked: in the line")
    assert typed.modes_now() == typed.modes


async def test_a_closed_window_ends_the_chat(typed: Typed) -> None:
    """The process does not outlive its terminal."""
    await typed.until("you>")
    typed.hang_up()
    code = await asyncio.to_thread(typed.process.wait, 20)
    assert code in {128 + signal.SIGHUP, -signal.SIGHUP, 0}


@pytest.mark.parametrize("terminal", ["dumb", "", "unknown"])
async def test_a_terminal_that_can_only_print_gets_no_escape_sequences(
    chat_environment: Environment, flow: FakeFlow, terminal: str
) -> None:
    """Lines are read and printed without editing."""
    del flow
    with chat({**chat_environment, "TERM": terminal}) as typed:
        await typed.until("you>")
        typed.type("hi\r")
        await typed.until("you> hi\necho hi\nyou>$")
        typed.type(CTRL_C)
        await typed.until("Ctrl-C again")
        typed.type(CTRL_D)
        assert await typed.ended() == 0
        assert "\x1b" not in typed.raw
