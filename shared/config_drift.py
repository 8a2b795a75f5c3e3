"""Compares a live stream or consumer with its wanted configuration.

It must never approve a limit that would make the server delete messages.
"""

from dataclasses import fields

from nats.js import JetStreamContext, api

from shared.log import logger


async def may_limit(js: JetStreamContext, wanted: api.StreamConfig, live: api.StreamConfig) -> bool:
    """Whether the wanted limit of messages per subject can be set without losing any."""
    name, limit = wanted.name or "", wanted.max_msgs_per_subject
    if live.max_msgs_per_subject > 0:
        return live.max_msgs_per_subject < limit
    if (await js.stream_info(name)).state.messages <= limit:
        return True
    state = (await js.stream_info(name, subjects_filter=">")).state
    counts = state.subjects or {}
    # The server lists at most 100,000 subjects: one that it leaves out may exceed the limit.
    if sum(counts.values()) == state.messages and max(counts.values()) <= limit:
        return True
    logger().warning(
        "limit not set: one subject may already have more messages", stream=name, limit=limit
    )
    return False


def changes_of(
    wanted: api.StreamConfig | api.ConsumerConfig, live: api.StreamConfig | api.ConsumerConfig
) -> dict[str, object]:
    """The wanted fields that differ in the live object."""
    changes: dict[str, object] = {}
    for field in fields(wanted):
        value, current = getattr(wanted, field.name), getattr(live, field.name)
        if value in (field.default, current):
            continue
        if isinstance(value, dict) and isinstance(current, dict):
            # The server adds its own metadata.
            if value.items() <= current.items():
                continue
            value = {**current, **value}
        changes[field.name] = value
    return changes
