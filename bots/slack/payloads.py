"""Foreign JSON, read without trust. Pure: no I/O.

A value of another type than expected counts as missing: reading it must never raise. Text comes
out repaired, so that half a surrogate pair can stop nothing later.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from shared.text import repaired

EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})

_OBJECTS: Final = (dict, MappingProxyType)
"""What JSON objects are here: asking for any `Mapping` takes ten times as long."""


def value(source: object, *keys: str) -> object:
    """What is found under these keys, one inside the other; None if any is missing."""
    for key in keys:
        if not isinstance(source, _OBJECTS):
            return None
        source = source.get(key)
    return source


def text(source: object, *keys: str) -> str:
    """The text under these keys, or an empty one."""
    found = value(source, *keys)
    return repaired(found) if isinstance(found, str) else ""


def mapping(source: object, *keys: str) -> Mapping[str, Any]:
    """The object under these keys, or an empty one."""
    found = value(source, *keys)
    return found if isinstance(found, _OBJECTS) else EMPTY


def mappings(source: object, *keys: str) -> list[Mapping[str, Any]]:
    """The objects in the list under these keys; whatever else is in it is left out."""
    found = value(source, *keys)
    return [one for one in found if isinstance(one, _OBJECTS)] if isinstance(found, list) else []


def texts(source: object, *keys: str) -> list[str]:
    """The texts in the list under these keys; whatever else is in it is left out."""
    found = value(source, *keys)
    return (
        [repaired(one) for one in found if isinstance(one, str)] if isinstance(found, list) else []
    )
