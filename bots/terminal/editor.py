"""Edits the line at the bottom of a terminal, and redraws a few rows above it.

Everything else is printed above these rows for good. While the editor runs, nothing else may write
to the terminal, and no key may be lost.
"""

import asyncio
import contextlib
import os
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from prompt_toolkit import PromptSession
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.data_structures import Size
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, has_focus
from prompt_toolkit.formatted_text import ANSI, StyleAndTextTuples, to_formatted_text
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input.typeahead import store_typeahead
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyBindings, KeyPress, KeyPressEvent
from prompt_toolkit.layout.processors import TabsProcessor
from prompt_toolkit.output.vt100 import Vt100_Output
from typing_extensions import override

from bots.terminal.history import History
from bots.terminal.markup import Markup
from bots.terminal.messages import PROMPT, Lines
from bots.terminal.reflow import rewraps
from bots.terminal.resizing import Resizing, size_of_terminal
from bots.terminal.sanitizing import sanitized
from shared.text import repaired

_TYPED_AHEAD_BYTES: Final = 1 << 16
"""More than a terminal's input buffer holds."""

_CONTINUATION: Final = " " * len(PROMPT)


class Editor(Lines):
    """The line editor of a terminal. Set `interrupted` and `changed` before calling `run`."""

    def __init__(self, history: History, environment: Mapping[str, str] = os.environ) -> None:
        """`history` holds earlier questions; `environment` describes the terminal."""
        self.markup = Markup()
        self.interrupted: Callable[[], None] = lambda: None
        """Called when the person presses Ctrl-C."""
        self.changed: Callable[[], None] = lambda: None
        """Called when the terminal's size, `queued` or `leaving` has changed."""
        self.queued: deque[str] = deque()
        """Questions typed ahead, to be asked after the current one."""
        self.leaving = False
        """Whether the chat ends once these are answered."""
        self._history = history
        self._input = Vt100Input(sys.stdin)
        self._output = Vt100_Output(
            sys.stdout,
            size_of_terminal,
            term=environment.get("TERM"),
            enable_cpr=False,  # the terminal's response could end up in the shell after us
        )
        self._message: StyleAndTextTuples = [("", PROMPT)]
        self._unprinted = ""
        self._session = self._new_session()
        self._app = self._session.app
        self._resizing = Resizing(
            self._app, rewraps=rewraps(environment), settled=self._size_settled
        )
        self._line = self._session.default_buffer
        self._arrived = asyncio.Event()
        self._closed = False

    async def run(self) -> None:
        """Edits lines until the editor or the terminal is closed."""
        history = InMemoryHistory(self._history.load())
        self._session.history = self._line.history = history
        self._report_history_trouble()
        try:
            with self._input.raw_mode():
                self._take_typed_ahead()
                # The process handles signals, and the caller handles exceptions.
                await self._session.prompt_async(handle_sigint=False, set_exception_handler=False)
        except (EOFError, OSError):
            pass  # the editor or the terminal was closed
        finally:
            self.close()

    # --- lines ------------------------------------------------------------------------------

    @override
    async def next(self) -> str | None:
        while not self.queued and not self.leaving and not self._closed:
            self._arrived.clear()
            await self._arrived.wait()
        if self._closed or not self.queued:
            return None
        text = self.queued.popleft()
        self.print(_echo(text))
        return text

    @override
    def clear(self) -> bool:
        if not self._line.text:
            return False
        self.print(_echo(repaired(self._line.text) + "^C"))
        self._line.reset()
        return True

    @override
    def unqueue(self) -> None:
        self.leaving = False
        if self.queued:
            self.give_back("\n".join(self.queued))
            self.queued.clear()
            self.changed()

    @override
    def give_back(self, text: str) -> None:
        self._line.text = "\n".join(filter(None, (text, self._line.text)))
        self._line.cursor_position = len(self._line.text)

    @override
    def take_back(self, text: str) -> None:
        if self._line.text == text:
            self._line.reset()

    @override
    def close(self) -> None:
        """Ends the input and restores the terminal; prints questions that were not asked."""
        if self._closed:
            return
        self._closed = True
        self._arrived.set()
        self._resizing.end()
        for text in filter(str.strip, (*self.queued, repaired(self._line.text))):
            self.print(self.markup.dim(f"Not asked: {text}", self.size.columns))
        if self._app.is_running and not self._app.is_done:
            self._app.exit(result="")

    # --- the screen -------------------------------------------------------------------------

    @property
    def size(self) -> Size:
        """The size of the terminal."""
        return self._output.get_size()

    def print(self, rows: str) -> None:
        """Prints rows above the editor for good."""
        self._unprinted += rows
        if not self._resizing.in_progress():
            self._print_now()

    def show(self, above: Sequence[str]) -> None:
        """Draws rows directly above the line, as far as they fit, replacing the previous ones."""
        room = max(0, self.size.rows - 2)
        shown = above[len(above) - room :] if len(above) > room else above
        self._message = to_formatted_text(ANSI("\n".join([*shown, PROMPT])))
        self._app.invalidate()

    # --- the editor -------------------------------------------------------------------------

    def _new_session(self) -> "PromptSession[str]":
        session: PromptSession[str] = PromptSession(
            lambda: self._message,
            multiline=True,
            prompt_continuation=_CONTINUATION,
            key_bindings=self._keys(),
            input_processors=[TabsProcessor(char1=" ", char2=" ")],
            enable_suspend=True,
            erase_when_done=True,
            reserve_space_for_menu=0,
            input=self._input,
            output=self._output,
        )
        session.default_buffer.accept_handler = self._accept
        return session

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        editing = has_focus(DEFAULT_BUFFER)  # not during a search in the history
        on_empty_line = editing & Condition(lambda: not self._line.text)

        @keys.add("enter", filter=editing)
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.validate_and_handle()

        @keys.add("escape", "enter", filter=editing)
        @keys.add("c-j", filter=editing)
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.newline(copy_margin=False)

        @keys.add("c-c", filter=editing)
        def _(_: KeyPressEvent) -> None:
            self.interrupted()

        @keys.add("c-d", filter=on_empty_line)
        def _(_: KeyPressEvent) -> None:
            # Questions typed before it are still asked and answered.
            self.leaving = True
            self._arrived.set()
            self.changed()

        return keys

    def forget(self) -> None:
        """Erases earlier questions, from the file and from this window."""
        self._history.forget()
        self._session.history = self._line.history = InMemoryHistory()
        self._line.reset()
        self._report_history_trouble()

    def _accept(self, line: Buffer) -> bool:
        text = repaired(line.text)
        if text.strip():
            self._history.add(text)
            self._report_history_trouble()
            self.queued.append(text)
            self._arrived.set()
            self.changed()
        return False  # tells prompt_toolkit to clear the line

    def _report_history_trouble(self) -> None:
        if trouble := self._history.take_trouble():
            self.print(self.markup.dim(trouble, self.size.columns))

    def _take_typed_ahead(self) -> None:
        """Reads keys typed before the editor ran; Enter was a line feed then."""
        keys: list[KeyPress] = []
        typed = self._input.stdin_reader.read(_TYPED_AHEAD_BYTES)
        Vt100Parser(keys.append).feed(typed.replace("\n", "\r"))
        store_typeahead(self._input, keys)

    def _size_settled(self) -> None:
        self.changed()
        self._print_now()

    def _print_now(self) -> None:
        rows, self._unprinted = self._unprinted, ""
        if not rows:
            return
        with contextlib.suppress(OSError):  # the terminal may be gone
            if self._app.is_running:
                self._app.renderer.erase()
            self._output.write_raw(rows.replace("\n", "\r\n"))
            self._output.flush()
        self._app.invalidate()


def _echo(text: str) -> str:
    """A question as it remains on the screen."""
    return PROMPT + sanitized(text).replace("\n", f"\n{_CONTINUATION}") + "\n"
