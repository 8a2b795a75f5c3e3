"""What the runbook tells an operator to type and to look for exists."""

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ops.cli import threadwax

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "runbook.md").read_text()

BLOCKS = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`(?:NATS_URL=\S+ )?(threadwax [^`]+)`")
LOGGED = re.compile(r"[Ll]og(?: of the \w+)?(?: has)?:? ((?:`[^`]+`(?:, | or )?)+)")


def commands() -> list[str]:
    lines = [line.partition("  #")[0].strip() for block in BLOCKS.findall(PAGE)
             for line in block.splitlines()]  # fmt: skip
    typed = {line for line in lines if line.startswith("threadwax ")} | set(INLINE.findall(PAGE))
    return sorted(typed)


@pytest.mark.parametrize("line", commands())
def test_every_command_and_option_exists(line: str) -> None:
    _, *words = shlex.split(line)
    command: click.Command = threadwax
    path: list[str] = []
    while isinstance(command, click.Group):
        path.append(words.pop(0))
        command = command.commands[path[-1]]
    options = [word for word in words if word.startswith("--")]
    shown = CliRunner().invoke(threadwax, [*path, "--help"]).output
    assert all(option in shown for option in options), shown


def test_every_quoted_log_line_is_written_by_the_program() -> None:
    source = "".join(
        path.read_text() for folder in ("bots", "dataflow", "ops", "shared")
        for path in (ROOT / folder).rglob("*.py")
    )  # fmt: skip
    quoted = [line for found in LOGGED.findall(PAGE) for line in re.findall(r"`([^`]+)`", found)]
    assert len(quoted) > 8
    assert not [line for line in quoted if line not in source]


def test_every_reason_of_readyz_is_given_by_the_program() -> None:
    """The table quotes the beginnings of these sentences."""
    table = PAGE.partition("| `/readyz` says | do |")[2].partition("\n\n")[0]
    source = "".join(
        path.read_text() for folder in ("bots", "dataflow", "ops", "shared")
        for path in (ROOT / folder).rglob("*.py")
    )  # fmt: skip
    quoted = re.findall(r"^\| ((?:`[^`]+`(?:, | or )?)+)", table, re.MULTILINE)
    reasons = [one for cell in quoted for one in re.findall(r"`([^`]+)`", cell)]
    assert len(reasons) > 8
    for reason in reasons:
        words = reason.strip(". ").replace("no consumer", "has no").removesuffix(" stream").strip()
        assert words.removeprefix("... ").strip(".") in source, reason
