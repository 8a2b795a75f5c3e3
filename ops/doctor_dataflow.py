"""`threadwax doctor`: who serves which partition, how far, and which questions wait.

Reads the store and listens to NATS; changes nothing.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from pydantic import ValidationError

from dataflow.partitions.beats import BEAT_S, Beat
from dataflow.snapshot import SNAPSHOT
from dataflow.store.opening import existing
from dataflow.store.store import CannotOpen, Claim, Store, StoreAway
from ops.finding import CheckContext, Finding
from shared import names
from shared.bus import Bus

LISTEN_S: Final = 3 * BEAT_S
UNREAD_FOR: Final = timedelta(seconds=30)
"""An event is read within milliseconds, unless nobody serves its partition."""

UNANSWERED_FOR: Final = timedelta(minutes=5)
"""A question is answered, or its person is told why not, within minutes."""

MINUTE_S: Final = 60

START: Final = (
    "start `threadwax up` or `threadwax dataflow`; until then, questions wait in the stream"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found: claims by partition, members that were heard, and what waits."""

    claims: dict[int, Claim]
    heard: frozenset[str]
    oldest_unread: datetime | None = None
    pending: int = 0
    oldest_pending: datetime | None = None


async def dataflow(context: CheckContext) -> list[Finding]:
    """Checks that every partition is served, and that nothing waits for long."""
    if context.bus is None:
        return []
    try:
        store = existing(context.settings)
    except CannotOpen as error:
        return [Finding("fail", "dataflow", "the store of conversations", str(error))]
    if store is None:
        return [Finding("fail", "dataflow", "nobody has served questions here yet", START)]
    try:
        seen = await _seen(context.bus, store)
    except StoreAway as error:
        text = "the store of conversations cannot be read"
        return [Finding("fail", "dataflow", text, str(error))]
    except (nats.errors.Error, nats.js.errors.Error, TimeoutError):
        return []  # the check of the streams reports it
    finally:
        await store.close()
    return findings_of(seen, datetime.now(UTC))


def findings_of(seen: Seen, now: datetime) -> list[Finding]:
    """What is said about the dataflow."""
    unserved = [n for n, claim in seen.claims.items() if claim.holder not in seen.heard]
    if len(unserved) == len(seen.claims):
        return [Finding("fail", "dataflow", "no process serves the questions", START)]
    counts = Counter(claim.holder for claim in seen.claims.values() if claim.holder in seen.heard)
    serves = ", ".join(f"{member} serves {count}" for member, count in sorted(counts.items()))
    found = [Finding("ok", "dataflow", f"{len(seen.claims)} partitions: {serves}")]
    if unserved:
        text = f"nobody serves {_numbers(unserved)}"
        advice = "another process takes them over within seconds; if not, read the logs"
        found.append(Finding("fail", "dataflow", text, advice))
    if seen.oldest_unread is not None and now - seen.oldest_unread > UNREAD_FOR:
        text = f"something said {_age(now - seen.oldest_unread)} ago was not read yet"
        found.append(Finding("fail", "dataflow", text, "read the log of the dataflow"))
    if seen.pending:
        text = f"questions without an answer: {seen.pending}"
        late = seen.oldest_pending is not None and now - seen.oldest_pending > UNANSWERED_FOR
        if seen.oldest_pending is not None:
            text += f"; the oldest was asked {_age(now - seen.oldest_pending)} ago"
        advice = "check the model, above, and read the log of the dataflow" if late else ""
        found.append(Finding("warn" if late else "ok", "dataflow", text, advice))
    return found


async def _seen(bus: Bus, store: Store) -> Seen:
    members, claims = await asyncio.gather(heard(bus), store.claims())
    unread = [await _first_unread(bus, number, claim) for number, claim in claims.items()]
    asked: list[datetime] = []
    for number in claims:
        for row in await store.with_work(number):
            try:
                snapshot = SNAPSHOT.validate_json(row.saved)
            except ValidationError:
                continue  # it is set aside when its user writes
            asked += (pending.ask.said_at for pending in snapshot.pending)
    return Seen(claims, members, _earliest(unread), len(asked), _earliest(asked))


async def heard(bus: Bus) -> frozenset[str]:
    """The members whose beats are heard. Nobody hears those of a role that may not."""
    members: set[str] = set()

    async def hear(message: Msg) -> None:
        with contextlib.suppress(ValidationError):
            members.add(Beat.model_validate_json(message.data).member)

    subscription = await bus.client.subscribe(names.MEMBER_BEATS, cb=hear)
    await asyncio.sleep(LISTEN_S)
    await subscription.unsubscribe()
    return frozenset(members)


async def _first_unread(bus: Bus, partition: int, claim: Claim) -> datetime | None:
    """When the first event after the stored position came; None if there is none."""
    try:
        found = await bus.js.get_msg(
            names.PROMPTS, seq=claim.position.sequence + 1,
            subject=names.stored_prompts(partition), next=True,
        )  # fmt: skip
    except nats.js.errors.NotFoundError:
        return None
    return found.time


def _earliest(times: Iterable[datetime | None]) -> datetime | None:
    return min((at for at in times if at is not None), default=None)


def _age(age: timedelta) -> str:
    seconds = int(age.total_seconds())
    if seconds < MINUTE_S:
        return f"{seconds} s"
    hours, minutes = divmod(seconds // MINUTE_S, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _numbers(partitions: list[int]) -> str:
    word = "partition" if len(partitions) == 1 else "partitions"
    return f"{word} {', '.join(map(str, sorted(partitions)))}"
