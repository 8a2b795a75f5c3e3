"""The body of a request to the model: JSON in which pictures stay bytes until they are sent.

It must never hold a second copy of a picture: ten of them, as text, took half a gigabyte.
"""

import base64
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from pydantic_core import to_json


class Picture:
    """A picture in a request, in the place of its URL.

    It is dropped, which frees its memory, as soon as no other try can need it.
    """

    def __init__(
        self, media_type: str, pieces: tuple[bytes, ...], on_drop: Callable[[], None]
    ) -> None:
        self.media_type = media_type
        self.pieces = pieces
        """Its bytes; none once it is dropped."""
        self._on_drop: Callable[[], None] | None = on_drop

    def drop(self) -> None:
        """Lets go of the bytes. A body that is being sent keeps hold of them."""
        self.pieces = ()
        on_drop, self._on_drop = self._on_drop, None
        if on_drop is not None:
            on_drop()


class Body:
    """A request's JSON as a stream of bytes, which can be sent more than once."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._pictures: list[Picture] = []
        mark = secrets.token_hex(16)  # nobody can write it into a message

        def marked(value: object) -> str:
            if not isinstance(value, Picture):
                raise TypeError(f"{type(value).__name__} is not JSON")
            self._pictures.append(value)
            return mark

        self._json = to_json(request, fallback=marked).split(f'"{mark}"'.encode())

    @property
    def size_bytes(self) -> int:
        """How many bytes are sent."""
        urls = sum(
            len(_head(picture)) + 4 * ((sum(map(len, picture.pieces)) + 2) // 3) + len(_TAIL)
            for picture in self._pictures
        )
        return sum(map(len, self._json)) + urls

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The body, one piece after another."""
        urls = [(_head(picture), picture.pieces) for picture in self._pictures]
        yield self._json[0]
        for (head, pieces), after in zip(urls, self._json[1:], strict=True):
            yield head
            for encoded in _base64(pieces):
                yield encoded
            yield _TAIL + after


_TAIL: Final = b'"'


def _head(picture: Picture) -> bytes:
    """The beginning of the data URL, as JSON."""
    return to_json(f"data:{picture.media_type};base64,").removesuffix(_TAIL)


def _base64(pieces: tuple[bytes, ...]) -> Iterator[bytes]:
    """The bytes of all pieces together, encoded one piece after another."""
    left = b""
    for piece in pieces:
        data = left + piece
        whole = len(data) - len(data) % 3
        yield base64.b64encode(memoryview(data)[:whole])
        left = data[whole:]
    yield base64.b64encode(left)
