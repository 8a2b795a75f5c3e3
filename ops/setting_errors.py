"""Describes a wrong setting in one line: its name and place, what is wrong, and how to fix it.

Pure. It must never show a value, because a secret can be in the wrong variable.
"""

import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

_NO_OBJECT: Final = 'it is not an object: write it as {"name": "text"}'

_FAULTS: Final = {
    "bool_parsing": "it is neither true nor false",
    "bool_type": "it is neither true nor false",
    "dict_type": _NO_OBJECT,
    "extra_forbidden": "this name is not known here",
    "finite_number": "it is not a finite number",
    "float_parsing": "it is not a number",
    "greater_than": "it is too small",
    "greater_than_equal": "it is too small",
    "int_parsing": "it is not a whole number",
    "int_parsing_size": "it is far too large",
    "int_type": "it is not a whole number",
    "less_than_equal": "it is too large",
    "literal_error": "it is not one of the possible values",
    "model_type": _NO_OBJECT,
    "string_type": "it is not text",
    "tuple_type": 'it is not a list: write it as ["one", "two"]',
}
"""By type of pydantic's errors: https://docs.pydantic.dev/latest/errors/validation_errors/"""


def fault_lines(
    error: ValidationError, kind: type[BaseSettings], place_of: Callable[[str], str]
) -> Iterator[str]:
    """Yields one line for each wrong setting; `place_of` says where a variable is set."""
    fields = {str(field.alias): field for field in kind.model_fields.values()}
    # Without values, because even a wrong value can be a secret.
    for problem in error.errors(include_url=False, include_input=False):
        where = problem["loc"]
        fault = _FAULTS.get(problem["type"]) or _message_of(problem)
        if not where:  # an error about several fields begins with their names
            yield fault
            continue
        name, inner = str(where[0]), _place_within(where[1:])
        at = f"in {inner}: " if inner else ""
        fix = "" if problem["type"] == "value_error" or inner else _fix_for(fields.get(name))
        yield f"{name}: {at}{fault}{fix} ({place_of(name)})"


def _place_within(where: Sequence[int | str]) -> str:
    """Says which part of an object or list is wrong."""
    if where[-1:] == ("[key]",):
        return f"the name {where[-2]}"
    return ".".join(f"entry {part + 1}" if isinstance(part, int) else part for part in where)


def _message_of(problem: Any) -> str:
    if problem["type"] == "too_long":
        return f"it has more than {problem['ctx']['max_length']} entries"
    text = str(problem.get("ctx", {}).get("error") or problem["msg"])
    return text[:1].lower() + text[1:] if text[:2] != text[:2].upper() else text


def _fix_for(field: FieldInfo | None) -> str:
    allowed = _allowed_values(field) if field is not None else ""
    return f": set it to {allowed}" if allowed else ""


def _allowed_values(field: FieldInfo) -> str:
    kinds = list(_kinds(field.annotation))
    for kind in kinds:
        if get_origin(kind) is Literal:
            return f"one of {', '.join(map(str, get_args(kind)))}"
    if bool in kinds:
        return "true or false"
    if not {int, float} & set(kinds):
        return ""
    number = "a whole number" if int in kinds else "a number"
    low = high = ""
    for limit in field.metadata:
        if isinstance(limit, annotated_types.Ge):
            low = f" from {limit.ge}"
        elif isinstance(limit, annotated_types.Gt):
            low = f" above {limit.gt}"
        elif isinstance(limit, annotated_types.Le):
            high = f" to {limit.le}"
    return f"{number}{low or ''}{high}{' or more' if low.startswith(' from') and not high else ''}"


def _kinds(annotation: Any) -> Iterator[Any]:
    """Yields the types in an annotation, without None and metadata."""
    if get_origin(annotation) in {Union, types.UnionType}:
        for part in get_args(annotation):
            yield from _kinds(part)
    elif hasattr(annotation, "__metadata__"):
        yield from _kinds(annotation.__origin__)
    elif annotation is not type(None):
        yield annotation
