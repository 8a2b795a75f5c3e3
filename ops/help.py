"""The text of `threadwax --help` around the list of commands."""

import sys
from typing import Final

import click

EPILOG: Final = """\b
First steps, without an account:
  threadwax up                      start everything on this machine, and a chat
  threadwax ask --user ada "hello"  ask one question, from another terminal
  threadwax doctor                  check everything, and learn how to fix it

\b
Use a real model instead of the demo model:
  OPENAI_API_KEY=... threadwax up
  OPENAI_BASE_URL=http://127.0.0.1:11434/v1 THREADWAX_MODEL=qwen3 threadwax up

Settings are environment variables or lines of a file .env; .env.example lists
them all. Every start prints which .env it read, and where the data is.

\b
Exit codes:
  0   success, or stopped as requested
  1   failure: no answer, an unusable server, a failed check
  2   wrong command line or setting
  75  temporary failure: start it again
  78  permanent failure: change something before you start it again

\b
Shell completion (for fish, see docs/getting-started.md):
  eval "$(_THREADWAX_COMPLETE=bash_source threadwax)"  # in ~/.bashrc
  eval "$(_THREADWAX_COMPLETE=zsh_source threadwax)"   # in ~/.zshrc
"""


class FullHelpGroup(click.Group):
    """A group that lists the complete first sentence of each command."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the list of commands; Click would truncate it to one line each."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, found.get_short_help_str(sys.maxsize)) for name, found in commands if found]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
