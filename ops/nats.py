"""Sets up the streams on a NATS server, and says in plain words why it refuses them.

It must never remove a stream, nor lower what one keeps.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from shared import lifecycle, names
from shared.settings import Settings

CLIENT_NAME: Final = "setup"

REPLICAS: Final = "THREADWAX_NATS_REPLICAS"

_NO_LEADER: Final = frozenset({None, 10008, 10009})
"""Refusals of a cluster that elects a leader; None: nobody answers."""

_TOO_FEW_SERVERS: Final = frozenset({10005, 10074})
"""No server with room for another replica, or no cluster at all."""

_ELECTING_RETRY_S: Final = 0.5


class CannotRun(Exception):
    """The server cannot be used; the text says why.

    `exit_code` is `lifecycle.CANNOT_START` if only a person can change that.
    """

    def __init__(self, why: str, exit_code: int = 1) -> None:
        super().__init__(why)
        self.exit_code = exit_code


def set_up_only(settings: Settings) -> int:
    """Sets up the streams on the server of NATS_URL; returns the exit code."""
    if not settings.nats_url:
        lifecycle.say(
            "--setup-only needs NATS_URL, the server that gets the streams. The embedded server "
            "gets them whenever it starts."
        )
        return lifecycle.CANNOT_START
    return asyncio.run(_set_up_and_report(settings.nats_url, settings))


async def set_up_streams(
    url: str,
    *,
    wait_s: float = 5.0,
    keep_days: int | None = None,
    replicas: int = 1,
    partitions: int | None = None,
) -> list[str]:
    """Creates or updates the streams; returns their names.

    `keep_days`, `replicas`: see `streams.set_up`. Waits while a cluster elects a leader.

    Raises:
        shared.connection.Unavailable: no server answers, or it refuses the connection.
        shared.partitioning.OtherPartitions: the existing stream has another number of partitions.
        nats.js.errors.APIError: the server refused a stream.
    """
    from shared import streams
    from shared.bus import Bus

    bus = await Bus.connect(
        url, name=CLIENT_NAME, wait_s=wait_s, needs=names.stream_info(names.PROMPTS)
    )
    try:
        await _while_electing(
            lambda: streams.set_up(
                bus.js, keep_days=keep_days, replicas=replicas, partitions=partitions
            ),
            bus.settles_in_s,
        )
    finally:
        await bus.close()
    return [config.name or "" for config in streams.stream_configs(1)]


async def _while_electing(once: Callable[[], Awaitable[None]], settles_in_s: float) -> None:
    """Repeats `once` for this time, unless the server refuses it for another reason."""
    import nats.errors
    import nats.js.errors

    now = asyncio.get_running_loop().time
    deadline = now() + settles_in_s
    while True:
        try:
            return await once()
        except (nats.errors.Error, TimeoutError) as error:
            code = error.err_code if isinstance(error, nats.js.errors.APIError) else None
            if code not in _NO_LEADER or now() >= deadline:
                raise
            await asyncio.sleep(_ELECTING_RETRY_S)


async def set_up_as(settings: Settings, url: str) -> list[str]:
    """Sets up the streams as the settings say; returns their names.

    Raises:
        CannotRun: they cannot be set up; the text says why.
    """
    try:
        return await set_up_streams(
            url,
            keep_days=settings.keep_days,
            replicas=settings.nats_replicas,
            partitions=settings.partitions,
        )
    except Exception as error:
        if (fault := set_up_fault(url, error)) is None:
            raise
        raise CannotRun(fault, set_up_exit_code(error)) from None


async def _set_up_and_report(url: str, settings: Settings) -> int:
    from shared.connection import without_credentials

    try:
        made = await set_up_as(settings, url)
    except CannotRun as error:
        lifecycle.say(str(error))
        return error.exit_code
    replicas = settings.nats_replicas
    copies = f", on {replicas} servers each" if replicas > 1 else ""
    lifecycle.say(f"NATS at {without_credentials(url)} has the streams {', '.join(made)}{copies}")
    return 0


def set_up_exit_code(error: Exception) -> int:
    """The exit code of a process whose streams could not be set up."""
    from shared.partitioning import OtherPartitions

    return lifecycle.CANNOT_START if isinstance(error, OtherPartitions) else 1


def set_up_fault(url: str, error: Exception) -> str | None:
    """Says why the streams could not be set up; None if the error is a defect of ours."""
    import nats.errors
    import nats.js.errors

    from shared.connection import Unavailable, without_credentials
    from shared.partitioning import OtherPartitions

    if isinstance(error, Unavailable | OtherPartitions):
        return str(error)
    if not isinstance(error, nats.errors.Error | TimeoutError):
        return None
    if isinstance(error, nats.js.errors.APIError) and error.err_code in _TOO_FEW_SERVERS:
        return (
            f"NATS at {without_credentials(url)} cannot keep each message on as many servers as "
            f"{REPLICAS} says: {error.description}. That many servers must be running as one "
            "cluster with JetStream (docs/deploy.md, Three NATS servers), each with 3.3 GiB for "
            f"the streams. Start the missing ones, or lower {REPLICAS}."
        )
    # The server never answers a request that permissions forbid.
    why = getattr(error, "description", None) or (
        "it does not answer" if isinstance(error, TimeoutError) else str(error)
    )
    return (
        f"NATS at {without_credentials(url)} refuses the streams: {why}. Allow this user to "
        "publish $JS.API.>, and make sure that the server has 3.3 GiB for the streams."
    )
