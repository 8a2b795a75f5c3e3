"""Which trace a message belongs to: computed from its id, so that no process has to remember it.

Pure. The ids follow W3C Trace Context (https://www.w3.org/TR/trace-context/).
"""

import hashlib
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

HEADER: Final = "traceparent"

_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?"
)
_DOMAIN: Final = b"threadwax-trace-1\0"
"""Changes with the way in which ids are computed. Processes of two ways would split a trace."""


@dataclass(frozen=True, slots=True)
class SpanIds:
    """The trace of a span, and its id in it. Neither is 0."""

    trace: int
    span: int

    def traceparent(self, *, sampled: bool) -> str:
        """The value of `HEADER` for whatever the span causes."""
        return f"00-{self.trace:032x}-{self.span:016x}-{sampled:02x}"


def root_of(prompt_id: str) -> SpanIds:
    """The first span of a question's trace. Only those who can guess the id can recognize it."""
    digest = hashlib.sha256(_DOMAIN + prompt_id.encode()).digest()
    return SpanIds(int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:24]) or 1)


def sent_in(headers: Mapping[str, str] | None) -> SpanIds | None:
    """The span that the sender of a message names in its headers; None if there is none.

    Some clients write the name in other letters, as in HTTP.
    """
    for name, value in (headers or {}).items():
        if name.lower() != HEADER:
            continue
        found = _TRACEPARENT.fullmatch(value.strip())
        if found is None or (value.startswith("00") and found[3]):
            return None
        ids = SpanIds(int(found[1], 16), int(found[2], 16))
        return ids if ids.trace and ids.span else None
    return None


def with_trace_id(_: Any, __: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Adds the trace's id to each log line about a question."""
    if isinstance(prompt_id := line.get("prompt"), str):
        line["trace_id"] = f"{root_of(prompt_id).trace:032x}"
    return line
