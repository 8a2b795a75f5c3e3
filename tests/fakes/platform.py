"""A chat platform in memory: records what it is shown, and fails as it is told."""

import asyncio
import itertools
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from bots.platform import Later, Part
from shared.messages import Partial, Reply


class Order(Enum):
    """What the next post of a part does, beside raising what it is given."""

    LOST = "shows it, and the response never comes"
    HANG_BEFORE = "waits for ever before it shows anything"
    HANG_AFTER = "shows it, and never returns"


@dataclass
class FakePlatform:
    """Everything is kept; `can_find` says whether it can be asked what was posted.

    `orders` holds by part key what its next posts do: raise an error, or an `Order`. What each post
    raises is in `always` by part key, and in `always_texts` by text.
    """

    name: str = "test"
    text_limit_chars: int = 100
    parts_limit: int = 1000
    can_find: bool = True
    slow_s: float = 0.0
    posts: list[Part] = field(default_factory=list)
    tries: list[str] = field(default_factory=list)
    finds: list[str] = field(default_factory=list)
    orders: defaultdict[str, deque[Exception | Order]] = field(
        default_factory=lambda: defaultdict(deque)
    )
    always: dict[str, Exception] = field(default_factory=dict)
    always_texts: dict[str, Exception] = field(default_factory=dict)
    previews: dict[str, str] = field(default_factory=dict)
    shown: list[Partial] = field(default_factory=list)
    partial_s: float = 0.0
    partial_raises: bool = False
    partials_at_once: int = 0
    most_partials_at_once: int = 0
    withdrawn: list[Reply] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _ids: "itertools.count[int]" = field(default_factory=itertools.count)

    def text_length(self, text: str) -> int:
        return len(text)

    async def listen(self) -> None:
        return

    async def close(self) -> None:
        pass

    def texts(self, user: str | None = None) -> list[str]:
        """What people see, in order; of one user or of all."""
        return [p.text for p in self.posts if user is None or p.reply.user == user]

    async def until_posts(self, count: int, *, seconds: float = 20.0) -> None:
        """Waits until so many parts are shown."""
        await self.until(lambda: len(self.posts) >= count, seconds=seconds)

    async def until(self, condition: Callable[[], bool], *, seconds: float = 20.0) -> None:
        """Waits until it is so; looks whenever something happened here."""
        async with asyncio.timeout(seconds):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def post(self, part: Part) -> str:
        self.tries.append(part.key)
        self.changed.set()
        if self.slow_s:
            await asyncio.sleep(self.slow_s)
        error = self.always.get(part.key) or self.always_texts.get(part.text)
        if error is not None:
            raise error
        order = self.orders[part.key].popleft() if self.orders[part.key] else None
        if isinstance(order, Exception):
            raise order
        if order is Order.HANG_BEFORE:
            await asyncio.Event().wait()
        self.posts.append(part)
        self.previews.pop(part.reply.prompt_id, None)
        self.changed.set()
        if order is Order.LOST:
            raise Later("the response never came", 0.1, maybe_posted=True)
        if order is Order.HANG_AFTER:
            await asyncio.Event().wait()
        return f"receipt-{next(self._ids)}"

    async def find_posted(self, part: Part) -> str | None:
        self.finds.append(part.key)
        if self.can_find and any(p.key == part.key for p in self.posts):
            return "found"
        return None

    async def show_partial(self, partial: Partial) -> None:
        self.partials_at_once += 1
        self.most_partials_at_once = max(self.most_partials_at_once, self.partials_at_once)
        try:
            if self.partial_raises:
                raise RuntimeError("a defect, as ordered")
            self.shown.append(partial)
            self.previews[partial.prompt_id] = partial.text
            self.changed.set()
            await asyncio.sleep(self.partial_s)
        finally:
            self.partials_at_once -= 1

    async def withdraw(self, reply: Reply) -> None:
        self.withdrawn.append(reply)
        self.changed.set()
