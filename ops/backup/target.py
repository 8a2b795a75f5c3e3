"""Finds out what keeps a backup from being restored here: messages, and running processes.

Reads only. Processes on other machines are recognized by what they ask the NATS server for.
"""

import shlex
from pathlib import Path
from typing import Final

import nats.js.errors

from dataflow.partitions.member_locks import living
from ops.backup.streams import STREAMS
from ops.doctor_dataflow import heard
from ops.running_instance import owner
from shared import names
from shared.bus import Bus
from shared.settings import Settings

RECORDER_LOCK: Final = Path("recorder") / "lock"
"""In the data folder."""

STOP: Final = (
    "stop `threadwax up`, or every dataflow, recorder, adapter and chat that uses this server, and "
    "run this again. NATS itself keeps running"
)


async def messages_there(settings: Settings, bus: Bus) -> dict[str, str]:
    """The streams that have messages, in words, and the commands that delete them."""
    found: dict[str, str] = {}
    for stream in STREAMS:
        try:
            count = (await bus.js.stream_info(stream)).state.messages
        except nats.js.errors.NotFoundError:
            continue
        if count:
            found[f"{count} messages in the stream {stream}"] = _removal(settings, stream)
    return found


def _removal(settings: Settings, stream: str) -> str:
    if settings.nats_url:
        return f"nats stream rm --force {stream}  # with the same NATS_URL"
    folder = settings.embedded_nats_url_file.parent
    return f"rm -r {shlex.quote(str(folder))}  # has all streams; stop `threadwax nats` first"


async def running_processes(settings: Settings, bus: Bus) -> list[str]:
    """The processes that use the server or the data folder, in words."""
    waiting = await _readers(bus)
    # Takes a second, in which a reader asks again.
    members = {*await heard(bus), *living(settings.home)}
    waiting |= await _readers(bus)
    return [
        *(f"the dataflow {member}" for member in sorted(members)),
        *(f"the recorder, process {pid}" for pid in [owner(settings.home / RECORDER_LOCK)] if pid),
        *(f"a reader of {reader}" for reader in sorted(waiting)),
    ]


async def _readers(bus: Bus) -> set[str]:
    """The consumers through which somebody waits for messages now."""
    found: set[str] = set()
    for stream in (names.PROMPTS, names.REPLIES, names.RECEIPTS_STREAM):
        try:
            consumers = await bus.js.consumers_info(stream)
        except nats.js.errors.NotFoundError:
            continue
        for consumer in consumers:
            if consumer.num_waiting or consumer.push_bound:
                known = consumer.config.durable_name
                found.add(f"{stream} ({known})" if known else stream)
    return found
