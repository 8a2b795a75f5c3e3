"""The body of a request to the model: JSON in which images stay bytes until they are sent.

It must never hold a second copy of an image: ten images as text would take half a gigabyte.
"""

import base64
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from pydantic_core import to_json


class Image:
    """An image in a request, in place of its URL.

    It is dropped, which frees its memory, once no further try can need it.
    """

    def __init__(
        self, media_type: str, pieces: tuple[bytes, ...], on_drop: Callable[[], None]
    ) -> None:
        self.media_type = media_type
        self.pieces = pieces
        """Its bytes; empty once it is dropped."""
        self._on_drop: Callable[[], None] | None = on_drop

    def drop(self) -> None:
        """Frees the bytes. A body that is being sent keeps its own reference."""
        self.pieces = ()
        on_drop, self._on_drop = self._on_drop, None
        if on_drop is not None:
            on_drop()


class Body:
    """The JSON of a request as a stream of bytes, which can be sent more than once."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._images: list[Image] = []
        mark = secrets.token_hex(16)  # nobody can guess it and write it into a message

        def marked(value: object) -> str:
            if not isinstance(value, Image):
                raise TypeError(f"{type(value).__name__} is not JSON")
            self._images.append(value)
            return mark

        self._json = to_json(request, fallback=marked).split(f'"{mark}"'.encode())

    @property
    def size_bytes(self) -> int:
        """The length of the body in bytes."""
        urls = sum(
            len(_head(image)) + 4 * ((sum(map(len, image.pieces)) + 2) // 3) + len(_TAIL)
            for image in self._images
        )
        return sum(map(len, self._json)) + urls

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The body, piece by piece."""
        urls = [(_head(image), image.pieces) for image in self._images]
        yield self._json[0]
        for (head, pieces), after in zip(urls, self._json[1:], strict=True):
            yield head
            for encoded in _base64(pieces):
                yield encoded
            yield _TAIL + after


_TAIL: Final = b'"'


def _head(image: Image) -> bytes:
    """The beginning of the data URL, as JSON."""
    return to_json(f"data:{image.media_type};base64,").removesuffix(_TAIL)


def _base64(pieces: tuple[bytes, ...]) -> Iterator[bytes]:
    """The concatenated pieces in base64, piece by piece."""
    left = b""
    for piece in pieces:
        data = left + piece
        whole = len(data) - len(data) % 3
        yield base64.b64encode(memoryview(data)[:whole])
        left = data[whole:]
    yield base64.b64encode(left)
