"""Separates an answer from the reasoning that a model writes into the same text.

Pure, and linear in the length of the text. It must never swallow an answer that only mentions a
tag.

The rules follow from how these texts are made:

1. A model reasons before it answers. So an opening tag counts only if nothing but blanks and other
   reasoning precedes it; anywhere else, for example in a code block, it is part of the answer.
   Reasoning that is never closed lasts to the end.
2. Some chat templates put the opening tag into the prompt. Then only the closing tag arrives, after
   the reasoning was shown, and everything before it is taken back. Such a tag counts unless it is
   in code, is mentioned in a sentence, or follows a mention of an opening tag.
3. gpt-oss writes messages with channels ("harmony"). The channels `analysis` and `commentary` are
   reasoning. Some servers drop the markers, but keep the names: `analysis...assistantfinal...`.
4. Some models also put the answer into tags after their reasoning. These tags are left out.

Text is held back only while it can still become a marker.
"""

from typing import Literal, NamedTuple

from dataflow.model.reasoning_tags import (
    ATTRIBUTES_BEGUN,
    BODY,
    CLOSES,
    END_CHARS,
    END_PREFIX,
    ENDS,
    FINAL,
    FIRST,
    HEADER_CHARS,
    HIDDEN,
    LONE,
    LONE_TRIES,
    OPENINGS,
    TAGS,
    TAIL_CHARS,
    WITH_ATTRIBUTES,
    WRAPPERS,
    ends_reasoning,
)

_State = Literal["start", "thought", "header", "thought body", "answer body", "answer", "wrapped"]


class Shown(NamedTuple):
    """The text that is shown next. `starts_over`: everything before it was reasoning."""

    text: str
    starts_over: bool = False


class ReasoningFilter:
    """Filters one answer as it arrives."""

    def __init__(self) -> None:
        self.hidden_chars = 0
        """Characters of reasoning so far, without any that a closing tag may still follow."""
        self._state: _State = "start"
        self._has_reasoned = False
        self._blank: list[str] = []
        self._held = ""
        self._closing = CLOSES["<think>"]
        self._wrapper = ""
        self._in_wrapper = False
        self._shown: list[str] = []
        self._length = 0
        self._tail = ""
        self._looked_at = 0
        self._tries = LONE_TRIES
        self._starts_over = False

    @property
    def thinking(self) -> bool:
        """Whether the text so far ends in reasoning."""
        return self._state in {"thought", "header", "thought body"}

    def add(self, piece: str) -> Shown:
        """The part of a piece of text that belongs to the answer."""
        rest: str | None = piece
        pieces: list[str] = []
        starts_over = False
        while rest is not None:
            text, rest = self._step(rest)
            if self._starts_over:
                self._starts_over, starts_over = False, True
                pieces.clear()
            if text:
                pieces.append(text)
                self._shown.append(text)
                self._length += len(text)
        return Shown("".join(pieces), starts_over)

    def end(self) -> Shown:
        """The part of the answer that was held back until the end of the text."""
        held, self._held = self._held, ""
        if self._state == "answer":
            self._look(self._tail, at_end=True)
            return Shown("", self._starts_over)
        if self._state == "wrapped" and held.rstrip().lower() == self._wrapper:
            return Shown("")
        if self._state in {"answer body", "wrapped"}:
            return Shown(held)
        if self._state == "start":
            return Shown(self._lead() + held)
        self.hidden_chars += len(held)
        return Shown("")

    def _step(self, text: str) -> tuple[str, str | None]:
        """The part of a text that is shown, and the part that the next state must handle."""
        match self._state:
            case "start":
                return self._start(text)
            case "thought":
                return self._think(text)
            case "header":
                return self._header(text)
            case "answer":
                return self._answer(text)
            case "wrapped":
                return self._wrapped(text)
            case _:
                return self._body(text)

    def _start(self, text: str) -> tuple[str, str | None]:
        """Handles text before which there were only blanks and reasoning."""
        if not self._held:
            stripped = text.lstrip()
            self._blank.append(text[: len(text) - len(stripped)])
            text = stripped
        text, self._held = self._held + text, ""
        if not text:
            return "", None
        if text[0] in FIRST:
            lowered = text[:TAIL_CHARS].lower()
            for opening in OPENINGS:
                if lowered.startswith(opening):
                    return self._open(opening, text)
                if opening.startswith(lowered):
                    self._held = text
                    return "", None
            if (attributes := self._attributes(text)) is not None:
                return attributes
        if self._has_reasoned and (wrapped := self._wrapper_in(text)) is not None:
            return wrapped
        self._state = "answer"
        return self._lead(), text

    def _attributes(self, text: str) -> tuple[str, str | None] | None:
        """Handles an opening tag with attributes, even if incomplete; None if there is none."""
        if tag := WITH_ATTRIBUTES.match(text):
            opening = f"<{tag[1].lower()}>"
            if opening not in TAGS:
                return None
            if tag[0].endswith("/>"):
                self._has_reasoned = True
                return "", text[tag.end() :]
            return self._open(opening, opening + text[tag.end() :])
        begun = ATTRIBUTES_BEGUN.match(text)
        if begun and f"<{begun[1].lower()}>" in TAGS:
            self._held = text
            return "", None
        return None

    def _wrapper_in(self, text: str) -> tuple[str, str | None] | None:
        """Handles the opening tag of an answer in tags, even half of it; None if there is none."""
        lowered = text[:TAIL_CHARS].lower()
        for opening, closing in WRAPPERS.items():
            if lowered.startswith(opening):
                self._state, self._wrapper = "wrapped", closing
                self._blank.clear()
                return "", text[len(opening) :]
            if opening.startswith(lowered):
                self._held = text
                return "", None
        return None

    def _wrapped(self, text: str) -> tuple[str, str | None]:
        """Handles an answer in tags. Text that may be the closing tag is held back."""
        window, self._held = self._held + text, ""
        if not self._in_wrapper:
            window = window.lstrip("\n")
            self._in_wrapper = bool(window)
        at = window.rfind("<", max(0, len(window) - TAIL_CHARS))
        tail = window[at:].lower() if at >= 0 else ""
        if tail and (self._wrapper.startswith(tail) or tail.rstrip() == self._wrapper):
            self._held = window[at:]
            window = window[:at]
        return window, None

    def _open(self, opening: str, text: str) -> tuple[str, str | None]:
        self._has_reasoned = True
        if opening in TAGS:
            self._state, self._closing = "thought", CLOSES[opening]
            return "", text[len(opening) :]
        self._state = "header"
        return "", text

    def _lead(self) -> str:
        """The blanks before an answer, unless they follow reasoning."""
        lead = "".join(self._blank) if self._length or not self._has_reasoned else ""
        self._blank.clear()
        return lead

    def _think(self, text: str) -> tuple[str, str | None]:
        window = self._held + text
        end = self._closing.search(window)
        if end is None:
            self._held = window[-TAIL_CHARS:]
            self.hidden_chars += len(window) - len(self._held)
            return "", None
        self.hidden_chars += end.start()
        self._held, self._state = "", "start"
        return "", window[end.end() :]

    def _header(self, text: str) -> tuple[str, str | None]:
        """Handles the text between a marker and the beginning of its message."""
        window, self._held = self._held + text, ""
        at = window.find(BODY, 0, HEADER_CHARS)
        if at >= 0:
            self._state = "thought body" if HIDDEN.search(window[:at]) else "answer body"
            return "", window[at + len(BODY) :]
        if len(window) >= HEADER_CHARS:
            self._state = "answer"
            return "", window
        self._held = window
        return "", None

    def _body(self, text: str) -> tuple[str, str | None]:
        """Handles a message up to its end."""
        window, self._held = self._held + text, ""
        hidden = self._state == "thought body"
        rest: str | None = None
        end = ENDS.search(window)
        if end is not None:
            cut = end.start()
            if end[0] in {"<|start|>", "<|channel|>"}:
                self._state, rest = "header", window[cut:]
            else:
                self._state, rest = "start", window[end.end() :]
        else:
            begun = END_PREFIX.search(window, max(0, len(window) - END_CHARS))
            cut = begun.start() if begun else len(window)
            self._held = window[cut:]
        if hidden:
            self.hidden_chars += cut
            return "", rest
        return window[:cut], rest

    def _answer(self, text: str) -> tuple[str, str | None]:
        window = self._tail + text
        rest = self._look(window, at_end=False) if self._tries else None
        if rest is not None:
            return "", rest
        self._tail = window[-TAIL_CHARS:]
        return text, None

    def _look(self, window: str, *, at_end: bool) -> str | None:
        """Looks for a closing tag without an opening one; returns the text after it.

        A tag is examined once the character after it is known.
        """
        begins_at = self._length - len(self._tail)
        for tag in LONE.finditer(window, max(0, self._looked_at - begins_at)):
            after = window[tag.end() : tag.end() + 1]
            if not self._tries or (not after and not at_end):
                return None
            self._tries -= 1
            self._looked_at = begins_at + tag.end()
            whole = "".join(self._shown) + window[len(self._tail) :]
            before = whole[: begins_at + tag.start()]
            if ends_reasoning(before, tag[0].lower(), after):
                return self._start_over(len(before), tag[0].lower(), window[tag.end() :])
        return None

    def _start_over(self, hidden_chars: int, tag: str, rest: str) -> str:
        self.hidden_chars += hidden_chars
        self._starts_over = self._has_reasoned = True
        self._state = "answer body" if tag == FINAL else "start"
        self._shown.clear()
        self._length = self._looked_at = 0
        self._tail = ""
        return rest
