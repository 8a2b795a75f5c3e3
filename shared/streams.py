"""Creates and updates the streams, buckets and consumers on NATS at the start.

It must never delete anything, nor change which partition a user belongs to.
"""

import asyncio
import http.client
import json
from typing import Final
from urllib.parse import urlsplit

from nats.js import JetStreamContext, api
from nats.js.errors import NotFoundError

from shared import names, quota
from shared.config_drift import changes_of, may_limit
from shared.partitioning import DEFAULT_PARTITIONS, same_partitions, transform

DAY_S: Final = quota.DAY_S
MIB: Final = quota.MIB
GIB: Final = 1 << 30

KEPT_S: Final = quota.KEPT_DAYS * DAY_S
"""How far the dataflow can rewind, and how long a platform may be down."""

DEAD_KEPT_S: Final = 30 * DAY_S
"""Dead letters are kept longer, because they wait for a person."""

DUPLICATES_S: Final = DAY_S
"""Platforms redeliver an event within hours; the server keeps all ids in memory."""

PROMPT_BYTES: Final = 256 * 1024
REPLY_BYTES: Final = 512 * 1024
STREAM_BYTES: Final = GIB
CODES_BYTES: Final = MIB
CODES_KEPT_S: Final = 3600.0
LEASES_BYTES: Final = MIB

DLQ_BYTES: Final = 256 * MIB
ADVISORY_BYTES: Final = 16 * MIB

DEAD_LETTERS_OF_A_SUBJECT: Final = 1000
"""The newest ones are kept: all requests that cannot be answered have the same subject."""

NEARLY_FULL: Final = 0.9
"""Above this fraction, an operator has to act.

The rest of the journal is reserved for some 100,000 notices that say so to people.
"""

ACK_WAIT_S: Final = 3.0
"""Replies of a dead relay are redelivered after this; a live relay reports three times as often."""

MAX_ACK_PENDING: Final = 1000
"""Replies in progress in one relay: those that wait for a rate limit must not block others."""

ADAPTERS: Final = ("slack", "discord", "gateway", "web")
"""Platforms whose consumers of replies are created at set-up.

A platform's own NATS user is not allowed to create consumers: their creator decides where messages
are delivered.
"""

MONITOR_TIMEOUT_S: Final = 2.0

PARTITION_METADATA: Final = "partitions"


class NotMonitored(Exception):
    """The server's monitoring does not answer, so its durability is unknown."""


async def set_up(
    js: JetStreamContext,
    *,
    replicas: int = 1,
    keep_days: int | None = None,
    partitions: int | None = None,
) -> None:
    """Creates what is missing and updates what differs; a second call changes nothing.

    `keep_days`: the server drops messages that are older, if it did not drop them sooner anyway.
    `partitions` of the stream of events: None keeps those of a stream that exists.

    Fields that we do not set keep the operator's values. `replicas` and the limits of size and of
    messages per subject only ever grow, because the server deletes messages that exceed a limit.

    Raises:
        OtherPartitions: nothing was changed.
        nats.js.errors.APIError: the server refused, for example for lack of storage.
    """
    prompts = await _live_stream(js, names.PROMPTS)
    partitions = same_partitions(prompts, partitions)
    wanted = stream_configs(replicas, keep_days, partitions)
    live = await asyncio.gather(*(_live_stream(js, config.name or "") for config in wanted))
    for config, current in zip(wanted, live, strict=True):
        if current is None:
            await js.add_stream(config)
        elif changes := changes_of(config, current):
            if "num_replicas" in changes:
                changes["num_replicas"] = max(replicas, current.num_replicas or 1)
            if not 0 < (current.max_bytes or 0) < (config.max_bytes or 0):
                changes.pop("max_bytes", None)
            if "max_msgs_per_subject" in changes and not await may_limit(js, config, current):
                changes.pop("max_msgs_per_subject")
                if current.max_msgs_per_subject <= 0:  # the server allows it only with a limit
                    changes.pop("discard_new_per_subject", None)
            updated = current.evolve(**changes)
            if updated != current:
                await js.update_stream(updated)
    for name in ADAPTERS:
        await ensure_reply_consumer(js, name, names.replies_to_platform(name))


async def ensure_reply_consumer(
    js: JetStreamContext,
    name: str,
    filter_subject: str,
    *,
    inactive_s: float | None = None,
) -> None:
    """Creates the durable consumer of an adapter's replies, or updates it if it differs.

    Needs no permission to create if the consumer is as `set_up` leaves it.

    The number of deliveries is not limited: a platform may be down for an hour, and the relay
    decides by age. The server removes the consumer after `inactive_s` seconds without a reader
    (None: never).
    """
    wanted = api.ConsumerConfig(
        # With a name, the request's subject contains the filter, which permissions can restrict.
        name=name,
        durable_name=name,
        filter_subject=filter_subject,
        ack_policy=api.AckPolicy.EXPLICIT,
        deliver_policy=api.DeliverPolicy.ALL,
        max_deliver=-1,
        ack_wait=ACK_WAIT_S,
        max_ack_pending=MAX_ACK_PENDING,
        inactive_threshold=inactive_s,
    )
    try:
        live = (await js.consumer_info(names.REPLIES, name)).config
    except NotFoundError:
        await js.add_consumer(names.REPLIES, wanted)
        return
    if changes := changes_of(wanted, live):
        await js.add_consumer(names.REPLIES, live.evolve(**changes))


def stream_configs(
    replicas: int, keep_days: int | None = None, partitions: int = DEFAULT_PARTITIONS
) -> tuple[api.StreamConfig, ...]:
    """The configurations of all streams, PROMPTS first; a bucket is a stream, too."""
    configs = _unlimited_configs(replicas, partitions)
    if keep_days is None:
        return configs
    kept_s = keep_days * DAY_S
    return tuple(config.evolve(max_age=min(config.max_age or kept_s, kept_s)) for config in configs)


def _unlimited_configs(replicas: int, partitions: int) -> tuple[api.StreamConfig, ...]:
    return (
        _stream(
            names.PROMPTS,
            names.PROMPT_SUBJECTS,
            replicas=replicas,
            max_bytes=STREAM_BYTES,
            max_msg_size=PROMPT_BYTES,
            # A full stream refuses new questions instead of dropping accepted ones.
            discard=api.DiscardPolicy.NEW,
            # One subject per user: no user can fill the stream for everybody.
            max_msgs_per_subject=quota.EVENTS_OF_A_USER,
            discard_new_per_subject=True,
            duplicate_window=DUPLICATES_S,
            subject_transform=api.SubjectTransform(
                src=names.PROMPT_SUBJECTS, dest=transform(partitions)
            ),
            metadata={PARTITION_METADATA: str(partitions)},
            allow_atomic=True,
        ),
        _stream(
            names.REPLIES,
            names.REPLY_SUBJECTS,
            replicas=replicas,
            max_bytes=STREAM_BYTES,
            max_msg_size=REPLY_BYTES,
            discard=api.DiscardPolicy.NEW,
            duplicate_window=DUPLICATES_S,
            allow_direct=True,
            allow_atomic=True,
        ),
        _stream(
            names.DLQ,
            names.DEAD_LETTER_SUBJECTS,
            replicas=replicas,
            max_age=DEAD_KEPT_S,
            max_bytes=DLQ_BYTES,
            max_msgs_per_subject=DEAD_LETTERS_OF_A_SUBJECT,
        ),
        _stream(
            names.ADVISORIES,
            *names.ADVISORY_SUBJECTS,
            replicas=replicas,
            max_age=DEAD_KEPT_S,
            max_bytes=ADVISORY_BYTES,
        ),
        # Configured as NATS configures a key-value bucket (ADR-8). No size limit, because a reply
        # whose receipt cannot be written may be posted twice.
        _stream(
            names.RECEIPTS_STREAM,
            f"{names.RECEIPTS_PREFIX}>",
            replicas=replicas,
            discard=api.DiscardPolicy.NEW,
            max_msgs_per_subject=1,
            allow_direct=True,
            # Unlike in ADR-8, no rollup: with one header, a platform could erase all receipts.
            deny_delete=True,
        ),
        # Small, because a code is valid for minutes; `dataflow/linking.py` says for how many.
        _stream(
            names.LINKS_STREAM,
            f"{names.LINKS_PREFIX}>",
            replicas=replicas,
            max_age=CODES_KEPT_S,
            max_bytes=CODES_BYTES,
            max_msgs_per_subject=1,
            allow_direct=True,
        ),
        # Who holds a lease, and what its next holder must know.
        _stream(
            names.LEASES_STREAM,
            f"{names.LEASES_PREFIX}>",
            replicas=replicas,
            max_bytes=LEASES_BYTES,
            max_msgs_per_subject=1,
            allow_direct=True,
            deny_delete=True,
        ),
        # Not a NATS object store: that needs rollup, so one adapter could erase everybody's files.
        _stream(
            names.BLOBS,
            names.BLOB_SUBJECTS,
            replicas=replicas,
            max_bytes=STREAM_BYTES,
            discard=api.DiscardPolicy.NEW,
            max_msgs_per_subject=1,
            allow_direct=True,
        ),
    )


def filled(info: api.StreamInfo) -> float:
    """The used fraction of a stream's limit, 0 to 1; always 0 if it never refuses messages."""
    limit = info.config.max_bytes or 0
    refuses = limit > 0 and info.config.discard == api.DiscardPolicy.NEW
    return info.state.bytes / limit if refuses else 0.0


def sync_always(monitor_url: str) -> bool:
    """Whether the server syncs before it acknowledges. May block for `MONITOR_TIMEOUT_S`.

    Raises:
        NotMonitored: monitoring does not answer at this address, or JetStream is off.
    """
    parts = urlsplit(monitor_url)
    connection = http.client.HTTPConnection(
        parts.hostname or "127.0.0.1", parts.port, timeout=MONITOR_TIMEOUT_S
    )
    try:
        connection.request("GET", "/varz")
        varz = json.loads(connection.getresponse().read())
        return varz["jetstream"]["config"].get("sync_always") is True
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        raise NotMonitored(f"{monitor_url}/varz does not say: {error!r}") from error
    finally:
        connection.close()


def _stream(name: str, *subjects: str, replicas: int, **limits: object) -> api.StreamConfig:
    base = api.StreamConfig(
        name=name,
        subjects=list(subjects),
        storage=api.StorageType.FILE,
        # Not a work queue, because the dataflow must be able to rewind.
        retention=api.RetentionPolicy.LIMITS,
        discard=api.DiscardPolicy.OLD,
        num_replicas=replicas,
        max_age=KEPT_S,
    )
    return base.evolve(**limits)


async def _live_stream(js: JetStreamContext, name: str) -> api.StreamConfig | None:
    try:
        return (await js.stream_info(name)).config
    except NotFoundError:
        return None
