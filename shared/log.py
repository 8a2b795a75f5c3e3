"""Structured logging: one line per hop; never the text of a message, never a secret."""

import json
import logging
import re
import sys
from typing import Any, Final

from pydantic_core import PydanticSerializationError, to_json

from shared.tuning import without

with without("rich"):  # structlog.dev would import it, for tracebacks that are not used here
    import structlog

_CONTROLS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
_C1: Final = re.compile(rb"\xc2([\x80-\x9f])")
"""Control characters that JSON does not escape, but some terminals obey."""


class _Process:
    """Holds the process's logger: making one takes as long as writing a line."""

    logger: Any = structlog.get_logger()
    name = ""
    of_libraries: logging.Handler | None = None


def set_up(level: str, *, process: str) -> None:
    """Logs to standard error: JSON for machines, readable lines on a terminal.

    A part that `up` has forked calls it again: its standard error is another file.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    human = sys.stderr.isatty()
    before: list[Any] = [
        _add_process,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if human else "iso", utc=not human),
        structlog.processors.format_exc_info,
        *([_escape_controls] if human else []),
    ]
    structlog.configure(
        processors=[
            *before,
            structlog.dev.ConsoleRenderer()
            if human
            else structlog.processors.JSONRenderer(serializer=_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr)
        if human
        else structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    _Process.name = process
    _Process.logger = structlog.get_logger().bind()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_library_formatter(before, human=human))
    # Libraries log through the standard module; their INFO lines can hold message texts.
    if _Process.of_libraries is not None:
        logging.getLogger().removeHandler(_Process.of_libraries)
    _Process.of_libraries = handler
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler])


def _library_formatter(before: list[Any], *, human: bool) -> logging.Formatter:
    """Formats the lines of libraries like ours, with the library's name."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *before],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.dev.ConsoleRenderer()
            if human
            else structlog.processors.JSONRenderer(
                serializer=lambda line, **_: _json(line).decode(errors="replace")
            ),
        ],
    )


def _add_process(_: Any, __: str, line: dict[str, Any]) -> dict[str, Any]:
    """Says which process writes a line: a context variable would be missing in other threads."""
    line.setdefault("process", _Process.name)
    return line


def _escape_controls(_: Any, __: str, line: dict[str, Any]) -> dict[str, Any]:
    """Escapes characters that move the cursor of a terminal or start a forged line."""
    return {
        name: "\n    ".join(map(_escaped, value.split("\n"))) if name == "exception"
        else _escaped(value)
        for name, value in line.items()
    }  # fmt: skip


def _escaped(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), value)


def _json(line: dict[str, Any], **_: Any) -> bytes:
    """Writes a line as JSON with pydantic, twice as fast as `json`, which handles the rest."""
    try:
        written = to_json(line, fallback=repr)
        return written if b"\xc2" not in written else _C1.sub(_as_json_escape, written)
    except PydanticSerializationError:  # a lone surrogate, or bytes that are not text
        return json.dumps(line, default=repr).encode()


def _as_json_escape(found: re.Match[bytes]) -> bytes:
    return b"\\u00%02x" % found[1][0]


def add_to_lines(processor: structlog.typing.Processor) -> None:
    """Passes each line to this first, from now on. Call it after `set_up`."""
    structlog.configure(processors=[processor, *structlog.get_config()["processors"]])
    _Process.logger = structlog.get_logger().bind()


def logger() -> Any:
    """The process's logger."""
    return _Process.logger
