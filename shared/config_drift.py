"""How a live stream or consumer differs from what it should be, and what can be changed safely.

It must never approve a limit for which the server would delete messages.
"""

from dataclasses import fields

from nats.js import JetStreamContext, api

from shared.log import logger


async def may_limit(js: JetStreamContext, wanted: api.StreamConfig, live: api.StreamConfig) -> bool:
    """Whether a live stream can get this limit of messages per subject without losing any."""
    name, limit = wanted.name or "", wanted.max_msgs_per_subject
    if live.max_msgs_per_subject > 0:
        return live.max_msgs_per_subject < limit
    if (await js.stream_info(name)).state.messages <= limit:
        return True
    state = (await js.stream_info(name, subjects_filter=">")).state
    counts = state.subjects or {}
    # The server lists 100,000 subjects at most: what it leaves out may be over the limit.
    if sum(counts.values()) == state.messages and max(counts.values()) <= limit:
        return True
    logger().warning(
        "not limited: one subject may hold more messages already", stream=name, limit=limit
    )
    return False


def changes_of(
    wanted: api.StreamConfig | api.ConsumerConfig, live: api.StreamConfig | api.ConsumerConfig
) -> dict[str, object]:
    """The fields in which the live object differs; an update resets what it does not name."""
    changes: dict[str, object] = {}
    for field in fields(wanted):
        value, current = getattr(wanted, field.name), getattr(live, field.name)
        if value in (field.default, current):
            continue
        if isinstance(value, dict) and isinstance(current, dict):
            # The server adds metadata of its own.
            if value.items() <= current.items():
                continue
            value = {**current, **value}
        changes[field.name] = value
    return changes
