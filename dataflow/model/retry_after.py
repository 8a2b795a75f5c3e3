"""The wait that an overloaded endpoint asks for, in any of the forms in use.

Pure, except that it compares dates with the current time.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PIECE: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h)")
_SAID: Final = re.compile(
    r"(?:try again in|retry in|retry after)\s+"
    r"((?:\d{1,9}(?:\.\d{1,9})?(?:ms|s|m|h)){1,4})(?![a-z])"
)
"""OpenAI, Groq and Google."""

_LIMITS: Final = ("requests", "tokens")


def retry_after_s(headers: Mapping[str, str], text: str = "") -> float | None:
    """Seconds to wait according to the headers, or else to the text of the error in lower case."""
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit_s
        except (KeyError, ValueError):
            continue
        if seconds >= 0:  # neither negative nor NaN
            return seconds
    then = _date(headers.get("retry-after"))
    if then is not None:
        now = _date(headers.get("date")) or datetime.now(UTC)  # its own clock if possible
        return max(0.0, (then - now).total_seconds())
    said = _SAID.search(text)
    return _seconds(said[1]) if said else _reset_s(headers)


def _reset_s(headers: Mapping[str, str]) -> float | None:
    """Seconds until a used-up limit is reset."""
    waits = [
        wait
        for limit in _LIMITS
        if headers.get(f"x-ratelimit-remaining-{limit}") == "0"
        and (wait := _seconds(headers.get(f"x-ratelimit-reset-{limit}", ""))) is not None
    ]
    return max(waits, default=None)


def _seconds(duration: str) -> float | None:
    """A duration like `6m0s`, `1.2s` or `20ms`."""
    pieces = _PIECE.findall(duration)
    if not pieces or "".join(map("".join, pieces)) != duration:
        return None
    return sum(float(number) * _UNITS_S[unit] for number, unit in pieces)


def _date(text: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
