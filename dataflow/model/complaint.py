"""A complaint: the reason that an endpoint gives for refusing a request.

Pure. Its text can repeat a person's message, so it must never be logged or shown.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

TEXT_LIMIT_CHARS: Final = 4_000
"""The reason is at the beginning. The text after it may repeat the request."""

VALUES_LIMIT: Final = 200
"""Limit of the values that are read in one body."""

_ECHOES: Final = frozenset({"input", "ctx", "body", "request", "user_id", "metadata"})
"""Keys under which pydantic and gateways repeat parts of the request."""

_CODES: Final = frozenset({"code", "type", "status", "error_type"})


_REFUSALS: Final = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.NOT_ACCEPTABLE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.NOT_IMPLEMENTED,
    }
)
_RARE_REFUSALS: Final = frozenset(
    {
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.METHOD_NOT_ALLOWED,
        HTTPStatus.INTERNAL_SERVER_ERROR,
    }
)


@dataclass(frozen=True, slots=True)
class Complaint:
    """A complaint in lower case. `status` is None if it came inside a stream.

    `fields` are the fields that it names outside of its text.
    """

    status: int | None
    codes: frozenset[str]
    fields: frozenset[str]
    text: str
    n_ctx: int | None = None
    web_page: bool = False

    @property
    def is_refusal(self) -> bool:
        """Whether the status says that the request is at fault."""
        return self.status in _REFUSALS and not self.web_page

    @property
    def may_be_refusal(self) -> bool:
        """Whether the status can mean a refusal, but usually means something else."""
        return (self.status is None or self.status in _RARE_REFUSALS) and not self.web_page


def complaint_of(status: int | None, body: object) -> Complaint:
    """The complaint in the body of an error, which may have any shape."""
    codes: set[str] = set()
    fields: set[str] = set()
    texts: list[str] = []
    n_ctx: int | None = None
    waiting: list[tuple[str, Any]] = [("", body)]
    for _ in range(VALUES_LIMIT):
        if not waiting:
            break
        key, value = waiting.pop()
        match value:
            case dict():
                waiting += [
                    (str(name).lower(), inner)
                    for name, inner in list(value.items())[:VALUES_LIMIT]
                    if str(name).lower() not in _ECHOES
                ]
            case list() | tuple():
                waiting += [(key, inner) for inner in value[:VALUES_LIMIT]]
            case str():
                lowered = value[:TEXT_LIMIT_CHARS].lower()
                if key in {"param", "loc"}:
                    fields.add(lowered)
                elif key in _CODES:
                    codes.add(lowered)
                else:
                    texts.append(lowered)
            case int() if key == "n_ctx" and not isinstance(value, bool):
                n_ctx = value
    text = "\n".join(texts)[:TEXT_LIMIT_CHARS]
    web_page = isinstance(body, str) and body.lstrip().startswith("<")
    return Complaint(status, frozenset(codes), frozenset(fields), text, n_ctx, web_page)
