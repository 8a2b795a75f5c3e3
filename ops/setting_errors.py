"""A wrong setting in one line: its name and place, what is wrong with it, and what to do.

Pure. It must never show a value: a secret may be in the wrong variable.
"""

import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

_NO_OBJECT: Final = 'it is not an object: write it like {"name": "text"}'

_FAULTS: Final = {
    "bool_parsing": "it is neither true nor false",
    "bool_type": "it is neither true nor false",
    "dict_type": _NO_OBJECT,
    "extra_forbidden": "this name is not known here",
    "finite_number": "it is not a number that ends",
    "float_parsing": "it is not a number",
    "greater_than": "it is too small",
    "greater_than_equal": "it is too small",
    "int_parsing": "it is not a whole number",
    "int_parsing_size": "it is far too large",
    "int_type": "it is not a whole number",
    "less_than_equal": "it is too large",
    "literal_error": "it is none of the possible values",
    "model_type": _NO_OBJECT,
    "string_type": "it is not a text",
    "tuple_type": 'it is not a list: write it like ["one", "two"]',
}
"""By pydantic's types of errors: https://docs.pydantic.dev/latest/errors/validation_errors/"""


def fault_lines(
    error: ValidationError, kind: type[BaseSettings], place_of: Callable[[str], str]
) -> Iterator[str]:
    """One line for each wrong setting; `place_of` says where a variable was set."""
    fields = {str(field.alias): field for field in kind.model_fields.values()}
    # Without the values: a wrong one may be a secret anyway.
    for problem in error.errors(include_url=False, include_input=False):
        where = problem["loc"]
        fault = _FAULTS.get(problem["type"]) or _own_words(problem)
        if not where:  # raised for the whole: its text begins with the name
            yield fault
            continue
        name, inner = str(where[0]), _inside(where[1:])
        at = f"in {inner}: " if inner else ""
        remedy = "" if problem["type"] == "value_error" or inner else _remedy(fields.get(name))
        yield f"{name}: {at}{fault}{remedy} ({place_of(name)})"


def _inside(where: Sequence[int | str]) -> str:
    """Which part of an object or list is meant."""
    if where[-1:] == ("[key]",):
        return f"the name {where[-2]}"
    return ".".join(f"entry {part + 1}" if isinstance(part, int) else part for part in where)


def _own_words(problem: Any) -> str:
    if problem["type"] == "too_long":
        return f"it has more than {problem['ctx']['max_length']} entries"
    text = str(problem.get("ctx", {}).get("error") or problem["msg"])
    return text[:1].lower() + text[1:] if text[:2] != text[:2].upper() else text


def _remedy(field: FieldInfo | None) -> str:
    wanted = _wanted(field) if field is not None else ""
    return f": set it to {wanted}" if wanted else ""


def _wanted(field: FieldInfo) -> str:
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
    """The types in an annotation, without None and without what is attached to them."""
    if get_origin(annotation) in {Union, types.UnionType}:
        for part in get_args(annotation):
            yield from _kinds(part)
    elif hasattr(annotation, "__metadata__"):
        yield from _kinds(annotation.__origin__)
    elif annotation is not type(None):
        yield annotation
