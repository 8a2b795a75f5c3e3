"""Takes the server's own snapshots of streams, with their consumers, and restores them.

A stream is never held in memory. https://docs.nats.io/reference/reference-protocols/nats_api_reference
"""

import contextlib
import json
from collections.abc import Callable, Iterable
from typing import Any, Final

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js import api

from ops.backup.manifest import Stream
from shared import names
from shared.bus import Bus
from shared.tasks import to_the_end

STREAMS: Final = (
    names.PROMPTS,
    names.BLOBS,
    names.REPLIES,
    names.RECEIPTS_STREAM,
    names.DLQ,
    names.LINKS_STREAM,
)
"""In the order in which they are taken: docs/decisions/0022-backups.md gives the reasons."""

CHUNK_BYTES: Final = 128 << 10
WINDOW_BYTES: Final = 4 << 20
"""How much the server sends before it waits for acknowledgements."""

SILENCE_S: Final = 60.0
"""A server that sends nothing for this long is not going to."""

RESTORE_TIMEOUT_S: Final = 600.0
"""For one chunk: with `sync_interval: always`, the server syncs each message of a block of 8 MB."""

API_TIMEOUT_S: Final = 30.0

_ENDED: Final = "204"
_EXISTS: Final = 10071
"""Wrong last sequence."""


class StreamFailed(Exception):
    """The server cannot take or restore a snapshot; the message says why."""


class NoStream(StreamFailed):
    """There is no such stream."""


async def snapshot(
    bus: Bus, stream: str, write: Callable[[bytes], None], on_bytes: Callable[[int], None]
) -> Stream:
    """Passes a snapshot to `write`, chunk by chunk; people go on talking meanwhile.

    Raises:
        NoStream: it does not exist.
        StreamFailed: the server does not send all of it.
    """
    try:
        created = (await bus.js.stream_info(stream)).created
    except nats.js.errors.NotFoundError:
        raise NoStream(
            f"there is nothing to back up: the server has no stream {stream}. Is this the server, "
            "or the data folder, that `threadwax up` uses?"
        ) from None
    if created is None:
        raise StreamFailed(f"the server does not say when {stream} was created")
    inbox = bus.client.new_inbox()
    chunks = await bus.client.subscribe(inbox)
    try:
        asked = {
            "deliver_subject": inbox, "no_consumers": False,
            "chunk_size": CHUNK_BYTES, "window_size": WINDOW_BYTES,
        }  # fmt: skip
        answer = await _api(bus, f"STREAM.SNAPSHOT.{stream}", asked)
        while (chunk := await _next(chunks, stream)) is not None:
            write(chunk.data)
            on_bytes(len(chunk.data))
            if chunk.reply:  # the last one has none
                await bus.client.publish(chunk.reply)
    finally:
        if bus.connected:
            await chunks.unsubscribe()
    return Stream(name=stream, created=created, config=answer["config"], state=answer["state"])


async def _next(chunks: Any, stream: str) -> Msg | None:
    """The next chunk; None at the end."""
    try:
        message: Msg = await chunks.next_msg(timeout=SILENCE_S)
    except (nats.errors.Error, TimeoutError) as error:
        raise StreamFailed(f"the snapshot of {stream} ended early: {error or 'silence'}") from error
    if message.data:
        return message
    headers = message.headers or {}
    status = headers.get("Status", _ENDED)
    if status != _ENDED:
        raise StreamFailed(
            f"the snapshot of {stream} ended early: {status} {headers.get('Description', '')}"
        )
    return None


def be_patient(bus: Bus) -> None:
    """Lets a connection survive a restore: the server answers no ping while it syncs messages."""
    bus.client.options["max_outstanding_pings"] = int(RESTORE_TIMEOUT_S)


async def restore(
    bus: Bus,
    stream: Stream,
    chunks: Iterable[bytes],
    on_bytes: Callable[[int], None],
    *,
    replicas: int,
) -> None:
    """Restores a stream that does not exist. `chunks` must fit into messages.

    Raises:
        StreamFailed: the server refuses it; there is no such stream then.
    """
    asked = {"config": stream.config | {"num_replicas": replicas}, "state": stream.state}
    answer = await _api(bus, f"STREAM.RESTORE.{stream.name}", asked)
    to = answer["deliver_subject"]
    try:
        for chunk in chunks:
            answered = await _request(bus, to, chunk, RESTORE_TIMEOUT_S, stream.name)
            if answered:
                _raise_error(answered, stream.name)
            on_bytes(len(chunk))
        _raise_error(await _request(bus, to, b"", RESTORE_TIMEOUT_S, stream.name), stream.name)
    except BaseException:
        # The server ends what was begun, also without us: the stream must not appear after `undo`.
        await to_the_end(_ended(bus, to, stream.name))
        raise


async def _ended(bus: Bus, to: str, stream: str) -> None:
    """Returns when the server has restored a stream, or has given up."""
    with contextlib.suppress(StreamFailed):
        await _request(bus, to, b"", RESTORE_TIMEOUT_S, stream)


async def put_first(bus: Bus, subject: str, value: str = "") -> None:
    """Publishes a value, unless there is one already."""
    headers = {api.Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: "0"}
    try:
        await bus.js.publish(subject, value.encode(), headers=headers)
    except nats.js.errors.BadRequestError as error:
        if error.err_code != _EXISTS:
            raise


async def exists(bus: Bus, stream: str) -> bool:
    """Whether the server has a stream of this name."""
    try:
        await bus.js.stream_info(stream)
    except nats.js.errors.NotFoundError:
        return False
    return True


def is_cluster(bus: Bus) -> bool:
    """Whether the server can keep several copies of a stream."""
    return "cluster" in bus.client._server_info  # noqa: SLF001  (the client has no other way)


async def delete(bus: Bus, stream: str) -> api.StreamConfig | None:
    """Deletes a stream; returns its configuration, or None if there was no such stream."""
    try:
        config = (await bus.js.stream_info(stream)).config
        await bus.js.delete_stream(stream)
    except nats.js.errors.NotFoundError:
        return None
    return config


async def subjects_of(bus: Bus, stream: str) -> list[str]:
    """All subjects that have messages; the server names at most 100,000 at a time."""
    found: list[str] = []
    while True:
        asked = {"subjects_filter": ">", "offset": len(found)}
        answer = await _api(bus, names.stream_info(stream), asked)
        page = answer["state"].get("subjects") or {}
        found += page
        if not page or len(found) >= answer.get("total", 0):
            return found


async def _api(bus: Bus, call: str, asked: dict[str, Any]) -> dict[str, Any]:
    data = json.dumps(asked).encode()
    answer = await _request(bus, names.api_subject(call), data, API_TIMEOUT_S, call)
    return _raise_error(answer, call)


async def _request(bus: Bus, subject: str, data: bytes, timeout_s: float, what: str) -> bytes:
    try:
        return (await bus.client.request(subject, data, timeout=timeout_s)).data
    except (nats.errors.Error, TimeoutError) as error:
        why = str(error) or "the server does not answer"
        raise StreamFailed(
            f"{what}: {why}. This needs the NATS user that sets up the streams, such as `admin` in "
            "deploy/nats-server.conf"
        ) from error


def _raise_error(answer: bytes, what: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(answer)
    except ValueError:
        raise StreamFailed(f"{what}: the server's answer cannot be read") from None
    if "error" in found:
        raise StreamFailed(f"{what}: {found['error'].get('description', 'refused')}")
    return found
