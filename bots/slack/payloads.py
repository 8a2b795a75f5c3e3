"""Reads Slack's JSON without trusting it. Pure: no I/O.

A value of an unexpected type counts as missing, and reading it must never raise. Texts are
repaired, because half a surrogate pair would fail later, when it is encoded.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from shared.text import repaired

EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})

_OBJECTS: Final = (dict, MappingProxyType)
"""The types of JSON objects here. Checking for any `Mapping` takes ten times as long."""


def value(source: object, *keys: str) -> object:
    """The value under these nested keys; None if any is missing."""
    for key in keys:
        if not isinstance(source, _OBJECTS):
            return None
        source = source.get(key)
    return source


def text(source: object, *keys: str) -> str:
    """The text under these keys; empty if it is missing."""
    found = value(source, *keys)
    return repaired(found) if isinstance(found, str) else ""


def mapping(source: object, *keys: str) -> Mapping[str, Any]:
    """The object under these keys; empty if it is missing."""
    found = value(source, *keys)
    return found if isinstance(found, _OBJECTS) else EMPTY


def mappings(source: object, *keys: str) -> list[Mapping[str, Any]]:
    """The objects in the list under these keys, without its other values."""
    found = value(source, *keys)
    return [one for one in found if isinstance(one, _OBJECTS)] if isinstance(found, list) else []


def texts(source: object, *keys: str) -> list[str]:
    """The texts in the list under these keys, without its other values."""
    found = value(source, *keys)
    return (
        [repaired(one) for one in found if isinstance(one, str)] if isinstance(found, list) else []
    )
