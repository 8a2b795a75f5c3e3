"""A chat platform in memory that records what is posted, and fails on request."""

import asyncio
import itertools
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from bots.platform import Later, Part
from shared.replies import Partial, Reply


class Order(Enum):
    """What the next post of a part does, if it does not raise an error."""

    LOST = "shows the part, then loses the response"
    HANG_BEFORE = "hangs before it shows the part"
    HANG_AFTER = "shows the part, then hangs"


@dataclass
class FakePlatform:
    """Records all calls. `can_find`: whether `find_posted` finds parts.

    `orders`: by part key, the error or `Order` for each of its next posts. `always` and
    `always_texts`: by part key or by text, the error that every post raises.
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
        """Returns the visible texts in order, of one user or of all."""
        return [p.text for p in self.posts if user is None or p.reply.user == user]

    async def until_posts(self, count: int, *, seconds: float = 20.0) -> None:
        """Waits until this many parts are shown."""
        await self.until(lambda: len(self.posts) >= count, seconds=seconds)

    async def until(self, condition: Callable[[], bool], *, seconds: float = 20.0) -> None:
        """Waits until the condition holds. It is checked after every change."""
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
                raise RuntimeError("a requested defect")
            self.shown.append(partial)
            self.previews[partial.prompt_id] = partial.text
            self.changed.set()
            await asyncio.sleep(self.partial_s)
        finally:
            self.partials_at_once -= 1

    async def withdraw(self, reply: Reply) -> None:
        self.withdrawn.append(reply)
        self.changed.set()
