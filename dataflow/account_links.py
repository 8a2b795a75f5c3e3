"""Carries out what people ask about their linked accounts: codes, links, and their end.

Runs in the asyncio thread. It must never link two accounts without a code that was given to one of
them and came back from the other. Every step may be repeated, and a restart repeats all of them
until the reply is in the journal.
"""

import asyncio
import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

import nats.js.errors

from dataflow import linking
from dataflow.conversation import Conversation
from dataflow.effects import Link, LinkDone, Recall, Recalled
from dataflow.linking import NewCode, Unlink, UseCode
from dataflow.store.store import Store, StoreAway
from dataflow.tokens import Window
from dataflow.turn import Turn
from shared import names, user_names
from shared.bus import Bus
from shared.log import logger
from shared.messages import Ask, Event, Linked, Place, Unlinked
from shared.tasks import end

RECALL_WITHIN_S: Final = 1.0
"""The answer to a question does not wait longer for what other accounts recall."""

AGAIN_S: Final = 1.0

HASH_LETTERS: Final = 32
"""Codes are stored as hashes: who reads the bucket cannot use them."""

E = TypeVar("E", Linked, Unlinked)

OnResult = Callable[[str, LinkDone | Recalled], None]


@dataclass(frozen=True, slots=True)
class _Offer:
    """The account that a code belongs to, those it is linked with, and who used the code."""

    account: str
    linked: tuple[str, ...]
    offered_at: datetime
    used_by: str
    """The id of the question that used it; empty: nobody has."""

    sequence: int


class AccountLinks:
    """What is in progress. Call from the asyncio thread."""

    def __init__(self, bus: Bus, store: Store, window: Window) -> None:
        self._bus = bus
        self._conversations = store
        self._window = window
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, effect: Link, on_result: OnResult) -> None:
        """Carries out a command. Returns at once."""

        async def run() -> None:
            text = await self._until_done(effect)
            user = effect.ask.user
            on_result(user, LinkDone(user, effect.ask.id, text))

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def recall(self, effect: Recall, on_result: OnResult) -> None:
        """Looks up what other accounts recall. Returns at once."""

        async def run() -> None:
            turns = await self._recalled(effect)
            on_result(effect.user, Recalled(effect.user, effect.prompt_id, turns))

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _recalled(self, effect: Recall) -> tuple[Turn, ...]:
        """Their stored conversations are a second old at most, whichever process serves them."""
        try:
            async with asyncio.timeout(RECALL_WITHIN_S):
                found = await self._conversations.get(effect.accounts)
        except (TimeoutError, StoreAway):
            logger().warning("linked accounts cannot be read", prompt=effect.prompt_id)
            return ()
        turns: list[Turn] = []
        for account in effect.accounts:
            if account in found:
                turns += self._known(found[account], to=effect.user)
        return tuple(turns)

    def _known(self, saved: bytes, *, to: str) -> tuple[Turn, ...]:
        try:
            return Conversation.load(saved, self._window, links_accounts=True).known_to(to)
        except ValueError:
            return ()  # of a newer version

    async def close(self) -> None:
        """Ends everything; the next start begins it again."""
        await end(*self._tasks)

    async def _until_done(self, effect: Link) -> str:
        while True:
            try:
                return await self._bus.until_done(lambda: self._done(effect))
            except Exception:  # noqa: BLE001  (a defect must not leave the question unanswered)
                logger().exception("defect with linked accounts", prompt=effect.ask.id)
                await asyncio.sleep(AGAIN_S)

    async def _done(self, effect: Link) -> str:
        match effect.command:
            case NewCode():
                return await self._new_code(effect)
            case UseCode() as command:
                return await self._use_code(effect, command)
            case Unlink():
                if not effect.accounts:
                    return linking.NOT_LINKED
                await unlink(self._bus, effect.ask, effect.accounts)
                return linking.UNLINKED

    async def _new_code(self, effect: Link) -> str:
        code = "".join(secrets.choice(linking.LETTERS) for _ in range(linking.CODE_LETTERS))
        offer = _Offer(effect.ask.user, effect.accounts, datetime.now(UTC), "", 0)
        await self._store(code, offer)
        return linking.code_text(code)

    async def _use_code(self, effect: Link, command: UseCode) -> str:
        ask, code = effect.ask, command.code
        offer = await self._offer(code)
        if offer is None or offer.used_by not in {"", ask.id}:
            return linking.INVALID
        if offer.account == ask.user:
            return linking.OWN_CODE
        if not command.confirmed:
            return linking.confirmation_text(code, offer.account)
        if not offer.used_by:
            # Of two who use it at the same time, the server refuses one, who then finds it used.
            used = _Offer(offer.account, offer.linked, offer.offered_at, ask.id, offer.sequence)
            await self._store(code, used)
        others = (offer.account, *offer.linked, *effect.accounts)
        everybody = tuple(dict.fromkeys((ask.user, *others)))
        await self._link(ask, everybody)
        logger().info("accounts are linked", prompt=ask.id, accounts=len(everybody))
        return linking.linked_text(everybody[1:])

    async def _link(self, ask: Ask, everybody: tuple[str, ...]) -> None:
        for user in everybody:
            accounts = tuple(one for one in everybody if one != user)
            await self._bus.publish(_said_by_us(Linked, ask, user, accounts=accounts))

    async def _offer(self, code: str) -> _Offer | None:
        try:
            found = await self._bus.js.get_last_msg(
                names.LINKS_STREAM, names.link_code_subject(_hash(code)), direct=True
            )
        except nats.js.errors.NotFoundError:
            return None
        value = json.loads(found.data or b"{}")
        offered_at = datetime.fromisoformat(value["offered_at"])
        if datetime.now(UTC) - offered_at > linking.CODE_VALID_FOR:
            return None
        return _Offer(
            value["account"], tuple(value["linked"]), offered_at, value["used_by"], found.seq or 0
        )

    async def _store(self, code: str, offer: _Offer) -> None:
        value = {
            "account": offer.account, "linked": offer.linked,
            "offered_at": offer.offered_at.isoformat(), "used_by": offer.used_by,
        }  # fmt: skip
        headers = {"Nats-Expected-Last-Subject-Sequence": str(offer.sequence)}
        subject = names.link_code_subject(_hash(code))
        await self._bus.js.publish(subject, json.dumps(value).encode(), headers=headers)


async def unlink(bus: Bus, by: Event, accounts: tuple[str, ...]) -> None:
    """Tells an account, and those linked with it, that they are no longer linked.

    Stored events are the ones of `by`, so that a repetition adds none.
    """
    for user in accounts:
        await bus.publish(_said_by_us(Unlinked, by, user, accounts=(by.user,)))
    await bus.publish(_said_by_us(Unlinked, by, by.user, accounts=accounts))


def _said_by_us(kind: type[E], cause: Event, user: str, *, accounts: tuple[str, ...]) -> E:
    """An event of this user, whose id depends on nothing but its cause."""
    platform, _ = user_names.split_user(user)
    key = _hash(f"{cause.id} {user}")
    place = Place(platform=platform, channel="links", audience="direct")
    return kind(
        id=f"{platform}-link-{key}", user=user, place=place, said_at=cause.said_at,
        accounts=accounts,
    )  # fmt: skip


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LETTERS]
