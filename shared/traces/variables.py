"""Checks the variables of OpenTelemetry whose wrong values its library ignores.

It must never show a value: a secret may be in the wrong variable.
https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from shared.setting_kinds import WebAddress

_HEADER: Final = re.compile(r"[\w!#$%&'*+.^`|~-]+[ \t]*=[ !#-:<-\[\]-~]*", re.ASCII)
_ATTRIBUTE: Final = re.compile(r"[^=]+=.*", re.DOTALL)
_COMPRESSIONS: Final = frozenset({"none", "gzip", "deflate"})

_ADDRESS: Final = TypeAdapter[str](WebAddress)


def _is_address(value: str) -> bool:
    try:
        _ADDRESS.validate_python(value)
    except ValidationError:
        return False
    return True


def _is_duration(value: str) -> bool:
    try:
        return 0 < float(value) < math.inf
    except ValueError:
        return False


def _is_count(value: str) -> bool:
    return value.isascii() and value.isdecimal() and int(value) > 0


def _are(entry: re.Pattern[str]) -> Callable[[str], bool]:
    def checked(value: str) -> bool:
        entries = [part.strip() for part in value.split(",")]
        return value.isprintable() and all(entry.fullmatch(part) for part in entries if part)

    return checked


def _is_file(value: str) -> bool:
    return "\0" not in value and Path(value).is_file()


_OTLP: Final[Mapping[str, tuple[Callable[[str], bool], str]]] = {
    "ENDPOINT": (_is_address, "an address such as http://127.0.0.1:4318/v1/traces"),
    "TIMEOUT": (_is_duration, "a number of seconds above 0"),
    "COMPRESSION": (lambda value: value.lower() in _COMPRESSIONS, "none, gzip or deflate"),
    "HEADERS": (
        _are(_HEADER),
        "name=value, separated by commas; in a value, write %20 for a blank and %2C for a comma",
    ),
    "CERTIFICATE": (_is_file, "the path of a file"),
    "CLIENT_CERTIFICATE": (_is_file, "the path of a file"),
    "CLIENT_KEY": (_is_file, "the path of a file"),
}
"""By the end of an exporter's variable: a check of its value, and what it must be."""

_OTHERS: Final[Mapping[str, tuple[Callable[[str], bool], str]]] = {
    "OTEL_BSP_MAX_QUEUE_SIZE": (_is_count, "a whole number above 0"),
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": (_is_count, "a whole number above 0"),
    "OTEL_BSP_SCHEDULE_DELAY": (_is_count, "a whole number of milliseconds above 0"),
    "OTEL_BSP_EXPORT_TIMEOUT": (_is_count, "a whole number of milliseconds above 0"),
    "OTEL_RESOURCE_ATTRIBUTES": (_are(_ATTRIBUTE), "name=value, separated by commas"),
    "OTEL_SDK_DISABLED": (
        lambda value: value.lower() in {"true", "false"}, "true or false",
    ),
}  # fmt: skip


def check(variables: Mapping[str, str]) -> None:
    """Checks what the library would replace by a default, or fail on with every batch.

    Raises:
        ValueError: a variable has a wrong value; the text names it and says what it must be.
    """
    rules = dict(_OTHERS)
    for end, rule in _OTLP.items():
        name, special = f"OTEL_EXPORTER_OTLP_{end}", f"OTEL_EXPORTER_OTLP_TRACES_{end}"
        rules[special if variables.get(special, "").strip() else name] = rule
    for name, (is_right, wanted) in rules.items():
        value = variables.get(name, "").strip()
        if value and not is_right(value):
            raise ValueError(f"{name} must be {wanted}")
