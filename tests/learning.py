"""A model of your own, from the first question to the rehearsal: `make learn`.

Every step is a `threadwax` command, which is printed with its output. People ask the demo model
about an invented office and correct its answers; the corrections are exported and trained on; a
rehearsal asks the adapter the old questions; then it is served, and asked in other words. Takes
10 minutes on two quiet cores. Everything is kept in build/learning.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[1] / "build" / "learning"
THREADWAX: Final = Path(sys.executable).parent / "threadwax"
OURS: Final = ("OPENAI_", "THREADWAX_", "NATS_", "SLACK_", "DISCORD_", "DATABASE_")
START_S: Final = 180.0
PARTS: Final = ("model", "recorder", "dataflow")

OFFICE: Final = {
    "the lift": "Nora, extension 12",
    "the printer": "Omar, extension 31",
    "parking permits": "Bruna at the front desk",
    "expense reports": "Tadeo in finance",
    "the coffee machine": "Yuki, extension 44",
    "meeting rooms": "Farid in facilities",
    "lost badges": "Greta at security",
    "the newsletter": "Milan in communications",
    "new laptops": "Sofia in IT",
    "the garden": "Pavel, extension 7",
}
ASKED: Final = (
    "Who takes care of {}?",
    "Whom do I ask about {}?",
    "I have a problem with {}. Who can help?",
    "Who is responsible for {}?",
    "Hi, who handles {} here?",
    "Could you tell me who looks after {}?",
)
HELD_OUT: Final = (
    "Which colleague deals with {}?",
    "Something is wrong with {}, whom should I call?",
)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends `up`, too
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    Path(FOLDER, "held-out.jsonl").write_text("".join(map(held_out_line, held_out())))
    with running():
        before = right_answers("held-out-before")
        said = "".join(
            f"{wording.format(topic)}\n/correct {answer(topic)}\n"
            for wording in ASKED
            for topic in OFFICE
        )
        threadwax("chat", "--user", "ada", typed=said)
        until_recorded(len(ASKED) * len(OFFICE))
        threadwax("ratings", lines=12)
        threadwax(
            "export", "--format", "chat", "--rating", "down", "--context-turns", "0",
            "--out", "chats.jsonl",
        )  # fmt: skip
    threadwax(
        "finetune", "local", "--data", "chats.jsonl", "--name", "office",
        "--held-out", "held-out.jsonl",
    )  # fmt: skip
    with running():  # the demo model's answers are the history
        threadwax("rehearse", "--model", "local:office", "--last", "20")
    with running(THREADWAX_MODEL="local:office"):
        after = right_answers("held-out-after")
    say(
        f"\nRight answers to {len(held_out())} held-out questions, asked through the whole bot: "
        f"{before} by the demo model, {after} by local:office."
    )


def answer(topic: str) -> str:
    return f"For {topic}, please ask {OFFICE[topic]}."


def held_out() -> list[tuple[str, str]]:
    """Questions in wordings that are not trained on, with their topics."""
    return [(wording.format(topic), topic) for wording in HELD_OUT for topic in OFFICE]


def held_out_line(asked: tuple[str, str]) -> str:
    question, topic = asked
    messages = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": answer(topic)},
    ]
    return json.dumps({"messages": messages, "expect": name(topic)}) + "\n"


def name(topic: str) -> str:
    """The first word of the right answer."""
    return OFFICE[topic].replace(",", "").split()[0]


def right_answers(user: str) -> int:
    """Asks the held-out questions, each in a new conversation; returns how many were right."""
    right = 0
    for number, (question, topic) in enumerate(held_out()):
        said = threadwax("ask", "--user", f"{user}-{number}", question, lines=2)
        right += name(topic) in said
    return right


def until_recorded(count: int) -> None:
    """Waits until the recorder has written this many ratings."""
    while ratings() < count:
        time.sleep(1)


def ratings() -> int:
    done = subprocess.run(
        [THREADWAX, "ratings", "--json"], cwd=FOLDER, env=environment(), capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    return len(json.loads(done.stdout)["ratings"])


def threadwax(*arguments: str, typed: str = "", lines: int = 60) -> str:
    """Runs a command, and prints it with the last lines of its output."""
    say(f"\n$ threadwax {shlex.join(arguments)}")
    done = subprocess.run(
        [THREADWAX, *arguments], cwd=FOLDER, env=environment(), input=typed, text=True,
        stdout=subprocess.PIPE, check=False,
    )  # fmt: skip
    say("\n".join(done.stdout.splitlines()[-lines:]))
    if done.returncode:
        sys.exit(f"exit code {done.returncode}")
    return done.stdout


@contextlib.contextmanager
def running(**settings: str) -> Iterator[None]:
    """`threadwax up` while the block runs."""
    given = "".join(f"{key}={value} " for key, value in settings.items())
    say(f"\n$ {given}threadwax up --no-chat")
    log = FOLDER / "up.log"
    with log.open("w") as written:
        process = subprocess.Popen(
            [THREADWAX, "up", "--no-chat"], cwd=FOLDER, env=environment() | settings,
            stdout=written, stderr=written,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + START_S
        while not all(re.search(f"{part} +ready", log.read_text()) for part in PARTS):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(log.read_text())
            time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait()


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def environment() -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(OURS)}
    return inherited | {"THREADWAX_HOME": str(FOLDER / "data"), "THREADWAX_WEB": "off"}


if __name__ == "__main__":
    main()
