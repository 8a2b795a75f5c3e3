"""The line at the bottom of a terminal that a person types in, and the few rows above it.

Everything else on the terminal is printed above these rows, for good. While the editor runs, nobody
else may write to the terminal, and no key may be lost.
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
from bots.terminal.markup import Drawing
from bots.terminal.messages import PROMPT, Lines
from bots.terminal.reflow import wraps_again
from bots.terminal.resizing import Resizing, size_of_terminal
from bots.terminal.sanitizing import plain
from shared.text import repaired

_TYPED_AHEAD_BYTES: Final = 1 << 16
"""More than a terminal keeps."""

_CONTINUATION: Final = " " * len(PROMPT)


class Editor(Lines):
    """One terminal's line editor: `run` it, and set `interrupted` and `changed` before."""

    def __init__(self, history: History, environment: Mapping[str, str] = os.environ) -> None:
        """Takes the earlier questions, and the environment, which describes the terminal."""
        self.drawing = Drawing()
        self.interrupted: Callable[[], None] = lambda: None
        """Called for Ctrl-C."""
        self.changed: Callable[[], None] = lambda: None
        """Called when the terminal has another size, or `queued` or `leaving` has changed."""
        self.queued: deque[str] = deque()
        """Questions that were typed ahead."""
        self.leaving = False
        """Whether the person leaves once these are answered."""
        self._history = history
        self._input = Vt100Input(sys.stdin)
        self._output = Vt100_Output(
            sys.stdout,
            size_of_terminal,
            term=environment.get("TERM"),
            enable_cpr=False,  # its answer could arrive in the shell after us
        )
        self._message: StyleAndTextTuples = [("", PROMPT)]
        self._unprinted = ""
        self._session = self._new_session()
        self._app = self._session.app
        self._resizing = Resizing(
            self._app, wraps_again=wraps_again(environment), settled=self._size_settled
        )
        self._line = self._session.default_buffer
        self._arrived = asyncio.Event()
        self._closed = False

    async def run(self) -> None:
        """Edits lines until the editor is closed or the terminal is gone."""
        history = InMemoryHistory(self._history.load())
        self._session.history = self._line.history = history
        self._complain_of_history()
        try:
            with self._input.raw_mode():
                self._take_typed_ahead()
                # Signals are for the process, and exceptions for whoever awaits this.
                await self._session.prompt_async(handle_sigint=False, set_exception_handler=False)
        except (EOFError, OSError):
            pass  # closed, or a terminal that is gone
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
    def hold(self) -> None:
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
    def close(self) -> None:
        """Ends the lines and gives the terminal back; questions that were typed are shown."""
        if self._closed:
            return
        self._closed = True
        self._arrived.set()
        self._resizing.end()
        for text in filter(str.strip, (*self.queued, repaired(self._line.text))):
            self.print(self.drawing.dim(f"Not asked: {text}", self.size.columns))
        if self._app.is_running and not self._app.is_done:
            self._app.exit(result="")

    # --- the screen -------------------------------------------------------------------------

    @property
    def size(self) -> Size:
        """The terminal's rows and columns."""
        return self._output.get_size()

    def print(self, rows: str) -> None:
        """Prints rows above the editor, for good."""
        self._unprinted += rows
        if not self._resizing.goes_on():
            self._print_now()

    def show(self, above: Sequence[str]) -> None:
        """Draws these rows above the line, in place of the last ones; as many as there is room."""
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
        editing = has_focus(DEFAULT_BUFFER)  # not while the history is searched
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
            # What was typed before it is still asked and answered.
            self.leaving = True
            self._arrived.set()
            self.changed()

        return keys

    def _accept(self, line: Buffer) -> bool:
        text = repaired(line.text)
        if text.strip():
            self._history.add(text)
            self._complain_of_history()
            self.queued.append(text)
            self._arrived.set()
            self.changed()
        return False  # and the line is cleared

    def _complain_of_history(self) -> None:
        if trouble := self._history.take_trouble():
            self.print(self.drawing.dim(trouble, self.size.columns))

    def _take_typed_ahead(self) -> None:
        """Reads what was typed before the editor ran, when the terminal made Enter a line feed."""
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
        with contextlib.suppress(OSError):  # a terminal that is gone shows nothing
            if self._app.is_running:
                self._app.renderer.erase()
            self._output.write_raw(rows.replace("\n", "\r\n"))
            self._output.flush()
        self._app.invalidate()


def _echo(text: str) -> str:
    """A question as it stays on the screen."""
    return PROMPT + plain(text).replace("\n", f"\n{_CONTINUATION}") + "\n"
