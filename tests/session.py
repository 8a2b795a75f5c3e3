"""Records the terminal session in the README: `python -m tests.session` writes docs/session.svg.

All processes are real and start on a new data folder. The model is a stand-in with fixed answers,
so that every recording shows the same text. Addresses and paths are replaced by typical ones.
"""

import asyncio
import contextlib
import io
import logging
import os
import re
import signal
import sys
import tempfile
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.style import Style
from rich.terminal_theme import MONOKAI
from rich.text import Text

from dataflow.partitions.member_locks import FOLDER as MEMBERS
from tests.fakes.model import FakeModel
from tests.terminals import Typed

ROOT: Final = Path(__file__).parents[1]
RECORDING: Final = ROOT / "docs" / "session.svg"
COLUMNS: Final = 96
UP_COLUMNS: Final = 250  # wide enough that no status line wraps
ROWS: Final = 24
START_S: Final = 120.0

ANSWERS: Final = {
    "Hi, I am Ada. What is a message broker?": (
        "Hi Ada! A **message broker** takes messages from some programs and delivers them to "
        "others. If a receiver is down, the broker keeps its messages until it is back."
    ),
    "And what happens if you crash now?": (
        "Nothing that you would notice, Ada. Your question was on the disk before anybody worked "
        "on it, so the next process finds it there and answers it once."
    ),
}

CHAT: Final = (
    "$ threadwax chat --user ada   # in a second terminal; the dataflow is killed during answer 2"
)

MODEL: Final = "llama3.2"
SETTINGS: Final = "OPENAI_BASE_URL={}\nTHREADWAX_MODEL={}\n"
NOT_INHERITED: Final = (
    "OPENAI_", "THREADWAX_", "NATS_", "SLACK_", "DISCORD_",
    "COLUMNS", "LINES",  # of another terminal, for example that of parallel tests
)  # fmt: skip


async def record(recording: Path = RECORDING) -> None:
    """Writes the picture, as SVG."""
    model = FakeModel(reply=answer, piece_chars=4, pause_s=0.06, models=[{"id": MODEL}])
    await model.start()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path(".env").write_text(SETTINGS.format(model.base_url, MODEL))
        replaced = {
            folder: "~/threadwax",
            f"127.0.0.1:{model.port}": "127.0.0.1:11434",
        }
        with program("up", "--no-chat", columns=UP_COLUMNS) as up:
            await up.until("dataflow +ready", within_s=START_S)
            await up.until("gateway +ready")
            await up.until("recorder +ready")
            with program("chat", "--user", "ada") as chat:
                await talk(chat)
                await up.until("(?s)restarting.*dataflow +ready", within_s=START_S)
                port = Path(".threadwax/nats/port").read_text().strip()
                replaced[f"127.0.0.1:{port}"] = "127.0.0.1:4222"
                console = Console(record=True, width=COLUMNS, file=io.StringIO())
                show(console, "$ threadwax up", up, replaced)
                console.print()
                show(console, CHAT, chat, replaced)
    await model.stop()
    recording.write_text(console.export_svg(title="threadwax", theme=MONOKAI, unique_id="session"))


def program(*command: str, columns: int = COLUMNS) -> Typed:
    """A threadwax command in a new terminal, with the settings of the current folder."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)
    }
    ours = {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "THREADWAX_WEB": "off"}
    environment = inherited | ours
    command = (sys.executable, "-m", "ops", *command)
    return Typed(command, environment, columns=columns, rows=ROWS)


async def talk(chat: Typed) -> None:
    """Asks two questions, and kills the dataflow in the middle of the second answer."""
    first, second = ANSWERS
    await chat.until("you>", within_s=START_S)
    chat.type(f"{first}\r")
    await chat.until(r"until it is\s+back\.\s+you>")
    chat.type(f"{second}\r")
    await chat.until("on the disk")
    (member,) = Path(".threadwax", MEMBERS).iterdir()
    os.kill(int(member.name.split(".")[-2]), signal.SIGKILL)  # HOST.PID.NONCE
    await chat.until(r"answers it\s+once\.\s+you>", within_s=START_S)


def answer(request: dict[str, Any]) -> str:
    asked = str(request["messages"][-1]["content"])
    return next(text for question, text in ANSWERS.items() if question in asked)


def show(console: Console, command: str, terminal: Typed, replaced: dict[str, str]) -> None:
    """Prints what a terminal shows, with its colors."""
    console.print(Text(command, style="bold green"))
    terminal.read()
    lines = []
    for row in terminal.cells():
        line = Text()
        for style, cells in groupby(row, key=style_of):
            text = "".join(cell.data for cell in cells)
            for found, typical in replaced.items():
                text = text.replace(found, typical)
            line.append(text, style)
        line.rstrip()
        if not line.plain.startswith("note "):  # notes are about this machine
            lines.append(line)
    while lines and not lines[-1].plain:
        lines.pop()
    for line in lines:
        console.print(line, no_wrap=True, overflow="ellipsis")


def style_of(cell: Any) -> Style:
    color = None if cell.fg == "default" else cell.fg
    if color and re.fullmatch(r"[0-9a-f]{6}", color):
        color = f"#{color}"
    color = {"brown": "yellow", "brightblack": "bright_black"}.get(color or "", color)
    return Style(color=color, bold=cell.bold, italic=cell.italics)


if __name__ == "__main__":
    logging.disable()  # otherwise the fake model logs the connection that the kill breaks
    asyncio.run(record())
