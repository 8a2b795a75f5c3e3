"""A chat platform in memory, for the relay's simulation: the screen people see, and an adapter.

The adapter keeps the promises of the port, as the real ones do. It dies with its process; the
screen survives. A request can fail before or after its effect, hang, or be cut off by a crash.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from bots.platform import Gone, Later, Never, Part
from shared.replies import Partial, Reply
from tests.chaos.simulated_loop import Life, Scheduler

NAME = "test"
TEXT_LIMIT_CHARS = 24
REFUSED = "bad"
"""The platform refuses a part that contains this."""

NONCE_HOLDS_S = 90.0
CALLS_TAKE_S = (0.0, 0.0, 0.0, 0.02, 0.4, 5.0)
"""The last one is longer than the consumer's acknowledgement wait."""

PREVIEWS_TAKE_S = (0.0, 0.0, 0.02, 0.4, 12.0)
"""The last one is longer than the time that a preview has to end."""


class DefectError(Exception):
    """An unexpected exception, as if the adapter had a bug."""


@dataclass(slots=True, eq=False)
class Shown:
    """A visible message. `whole`: it is complete, and no longer a preview."""

    key: str
    text: str
    whole: bool
    at: float

    @property
    def prompt_id(self) -> str:
        return self.key.rpartition(".")[0]


@dataclass
class Screen:
    """The messages that people see, and their history. It survives every crash.

    `gone_after`: how many parts of a reply can be posted before its place is gone. `mute`: replies
    whose text is always refused. `needed`: whether `find_posted` is necessary for a part. Needless
    calls are violations, because they use up the rate limit.
    """

    scheduler: Scheduler
    nonces: bool
    faults: bool = False
    quiet: bool = False
    needed: Callable[[Part], bool] = lambda _: True
    gone_after: dict[str, int] = field(default_factory=dict)
    mute: set[str] = field(default_factory=set)
    messages: list[Shown] = field(default_factory=list)
    completed: list[tuple[str, Shown]] = field(default_factory=list)
    withdrawn: set[str] = field(default_factory=set)
    needless_searches: list[str] = field(default_factory=list)
    searches: int = 0

    def create(self, key: str, text: str, *, whole: bool, user: str) -> Shown:
        if self.nonces:
            for message in self.messages:
                if message.key == key and self.scheduler.now - message.at < NONCE_HOLDS_S:
                    if whole:
                        self.edit(message, text, whole=True, user=user)
                    return message
        message = Shown(key, text, whole, self.scheduler.now)
        self.messages.append(message)
        if whole:
            self.completed.append((user, message))
        return message

    def edit(self, message: Shown, text: str, *, whole: bool, user: str) -> Shown:
        if whole and not message.whole:
            self.completed.append((user, message))
        message.text, message.whole = text, whole
        return message

    def visible(self, prompt_id: str | None = None) -> list[Shown]:
        """Returns the messages that people see, of one reply or of all.

        A preview in a place that is gone is not visible.
        """
        return [
            message
            for message in self.messages
            if prompt_id in {message.prompt_id, None}
            and (message.whole or message.prompt_id not in self.gone_after)
        ]


class Adapter:
    """The adapter of one process. Every request takes simulated time."""

    name = NAME
    text_limit_chars = TEXT_LIMIT_CHARS
    parts_limit = 1000

    def __init__(self, screen: Screen, life: Life) -> None:
        self._screen = screen
        self._scheduler = screen.scheduler
        self._rng = screen.scheduler.rng
        self._life = life
        self._previews: dict[str, Shown] = {}
        self._uncertain: set[str] = set()
        self._under_way: dict[asyncio.Future[Shown], Callable[[], Shown]] = {}
        self.tried_in_doubt: set[str] = set()

    def text_length(self, text: str) -> int:
        return len(text)

    async def listen(self) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    def die(self) -> None:
        """The process was killed. Requests in progress reach the platform or are lost."""
        for answer, effect in self._under_way.items():
            if not answer.cancelled() and self._rng.random() < 0.5:
                effect()

    async def _call(self, effect: Callable[[], Shown], takes_s: tuple[float, ...]) -> Shown:
        answer: asyncio.Future[Shown] = self._life.create_future()
        self._under_way[answer] = effect
        takes = 0.0 if self._screen.quiet else self._rng.choice(takes_s)
        self._scheduler.later(takes, self._land, answer)
        return await answer

    def _land(self, answer: "asyncio.Future[Shown]") -> None:
        if self._life.dead:
            return
        effect = self._under_way.pop(answer)
        if answer.cancelled():
            return
        luck = 1.0 if self._screen.quiet else self._rng.random()
        if luck < 0.04:
            answer.set_exception(Later("no response, no effect", 0.5, maybe_posted=True))
        elif luck < 0.12:
            effect()
            answer.set_exception(Later("no response", 0.5, maybe_posted=True))
        else:
            answer.set_result(effect())

    # --- the port -----------------------------------------------------------------------------

    async def post(self, part: Part) -> str:
        user, prompt_id = part.reply.user, part.reply.prompt_id
        if part.index >= self._screen.gone_after.get(prompt_id, 99):
            raise Gone("the place is gone")
        if REFUSED in part.text or prompt_id in self._screen.mute:
            raise Never("refused text")
        luck = 1.0 if self._screen.quiet else self._rng.random()
        if luck < 0.06:
            raise Later("busy", self._rng.choice((0.0, 1.0, 7.0, 30.0)))
        if luck < 0.07 and self._screen.faults:
            self.tried_in_doubt.add(part.key)
            raise DefectError
        known = None
        if part.index == 0:
            if prompt_id in self._uncertain and self._search(part) is not None:
                return "found"
            known = self._previews.get(prompt_id)
        try:
            if known is not None:
                shown = known
                await self._call(
                    lambda: self._screen.edit(shown, part.text, whole=True, user=user),
                    CALLS_TAKE_S,
                )
            else:
                await self._call(
                    lambda: self._screen.create(part.key, part.text, whole=True, user=user),
                    CALLS_TAKE_S,
                )
        except Later:
            self.tried_in_doubt.add(part.key)
            raise
        return "posted"

    async def find_posted(self, part: Part) -> str | None:
        self._screen.searches += 1
        if not self._screen.needed(part):
            self._screen.needless_searches.append(part.key)
        if not self._screen.quiet and self._rng.random() < 0.1:
            raise Later("the search failed", 1.0)
        return self._search(part)

    def _search(self, part: Part) -> str | None:
        for message in self._screen.messages:
            if message.key == part.key:
                if message.whole:
                    return "found"
                self._previews[part.reply.prompt_id] = message
        return None

    async def show_partial(self, partial: Partial) -> None:
        prompt_id, user = partial.prompt_id, partial.user
        if self._screen.faults and self._rng.random() < 0.02:
            raise DefectError
        known = self._previews.get(prompt_id)
        if known is None and prompt_id in self._uncertain:
            return
        try:
            if known is not None:
                await self._call(
                    lambda: self._screen.edit(known, partial.text, whole=False, user=user),
                    PREVIEWS_TAKE_S,
                )
                return
            self._uncertain.add(prompt_id)
            self._previews[prompt_id] = await self._call(
                lambda: self._screen.create(f"{prompt_id}.0", partial.text, whole=False, user=user),
                PREVIEWS_TAKE_S,
            )
            self._uncertain.discard(prompt_id)
        except Later:
            return

    async def withdraw(self, reply: Reply) -> None:
        self._screen.withdrawn.add(reply.prompt_id)
        for message in self._screen.visible(reply.prompt_id):
            self._screen.messages.remove(message)
