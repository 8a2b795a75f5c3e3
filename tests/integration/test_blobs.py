"""Files of questions are stored in pieces, within the user's quota and the limit of the store."""

import os

import pytest

from shared import names, user_names
from shared.blobs import PIECE_BYTES, BlobStoreFull, get_blob, put_blob
from shared.bus import Bus
from shared.connection import Unavailable
from shared.quota import Quotas


async def limit_store(bus: Bus, room_bytes: int) -> None:
    """Limits the store to this size."""
    live = (await bus.js.stream_info(names.BLOBS)).config
    await bus.js.update_stream(live.evolve(max_bytes=room_bytes))


async def stored(bus: Bus, name: str) -> bytes | None:
    pieces = await get_blob(bus, name)
    return None if pieces is None else b"".join(pieces)


async def used_bytes(bus: Bus) -> int:
    return (await bus.js.stream_info(names.BLOBS)).state.bytes


async def test_blobs_are_stored_in_pieces(bus: Bus) -> None:
    """Files can be empty or larger than one message; a file without all its pieces is not found."""
    for name, data in (("test-0", b""), ("test-1", b"x"), ("test-2", os.urandom(2_000_000))):
        await put_blob(bus, name, data)
        assert await stored(bus, name) == data
    assert await get_blob(bus, "test-unknown") is None
    await bus.js.purge_stream(names.BLOBS, subject="blobs.test.test-2.1")
    assert await get_blob(bus, "test-2") is None
    with pytest.raises(user_names.BadName):
        await put_blob(bus, "test.*", b"x")


async def test_a_full_store_is_reported_and_a_partial_file_takes_no_space(bus: Bus) -> None:
    """The pieces that were stored are emptied, so that a smaller file still fits."""
    await limit_store(bus, 4 * PIECE_BYTES)
    await put_blob(bus, "test-1", b"x" * PIECE_BYTES)
    before = await used_bytes(bus)
    with pytest.raises(BlobStoreFull, match="full"):
        await put_blob(bus, "test-2", b"y" * 4 * PIECE_BYTES)
    assert await used_bytes(bus) < before + 4096
    assert await get_blob(bus, "test-2") is None
    await put_blob(bus, "test-3", b"z" * PIECE_BYTES)
    assert await stored(bus, "test-1") == b"x" * PIECE_BYTES
    assert await stored(bus, "test-3") == b"z" * PIECE_BYTES


async def test_a_stored_file_can_be_stored_again_in_a_full_store(bus: Bus) -> None:
    """A retry replaces the pieces with identical ones."""
    await limit_store(bus, 3 * PIECE_BYTES)
    data = b"x" * 2 * PIECE_BYTES
    await put_blob(bus, "test-1", data)
    with pytest.raises(BlobStoreFull):
        await put_blob(bus, "test-2", data)
    await put_blob(bus, "test-1", data)
    assert await stored(bus, "test-1") == data


async def test_a_temporary_refusal_is_not_reported_as_a_full_store(bus: Bus) -> None:
    """The caller then retries instead of leaving out the file."""
    await bus.js.delete_stream(names.BLOBS)
    with pytest.raises(Unavailable):
        await put_blob(bus, "test-1", b"x")


async def test_one_user_cannot_fill_the_store(bus: Bus) -> None:
    """Each user has a quota, and a refused file does not use any of it."""
    bus.blob_quotas = Quotas(15)
    await put_blob(bus, "test-1", b"x" * 10, user="test:ada")
    with pytest.raises(BlobStoreFull, match="this user"):
        await put_blob(bus, "test-2", b"x" * 10, user="test:ada")
    assert await get_blob(bus, "test-2") is None
    await put_blob(bus, "test-3", b"x" * 5, user="test:ada")
    await put_blob(bus, "test-4", b"x" * 15, user="test:bob")
    await put_blob(bus, "test-5", b"x" * 100)


async def test_a_file_that_did_not_fit_uses_no_quota(bus: Bus) -> None:
    """Otherwise a full store would use up the quota of every user who tries."""
    await limit_store(bus, PIECE_BYTES)
    bus.blob_quotas = Quotas(2 * PIECE_BYTES)
    with pytest.raises(BlobStoreFull, match="full"):
        await put_blob(bus, "test-1", b"x" * 2 * PIECE_BYTES, user="test:ada")
    await put_blob(bus, "test-1", b"x" * 1000, user="test:ada")
