"""The interface of a test world: a platform with its adapter, as a person uses it."""

from typing import Protocol, Self

from bots.platform import ChatPlatform
from shared.messages import AnyEvent
from shared.replies import Reply


class World(Protocol):
    """A platform and its listening adapter; `heard` has the published events in order."""

    platform: ChatPlatform
    heard: list[AnyEvent]

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    async def say(self, text: str, *, author: str = "ada") -> str:
        """Addresses the bot as `author`; returns the platform's id of the message.

        `ada` and `bob` are people, `otherbot` is another bot, and `self` is this bot.
        """

    async def deliver_again(self, message_id: str) -> None:
        """Makes the platform deliver the same message again."""

    async def replies_to(self, message_id: str) -> list[str]:
        """The replies that a person reads below that message, in order."""

    async def end(self) -> None:
        """The adapter's `listen` ends, as it does after a defect."""

    async def refuse_everything(self) -> None:
        """The platform refuses every call from now on, for a reason that will not pass."""

    async def limit_once(self, seconds: float) -> None:
        """Makes the platform refuse the next post with a rate limit of this many seconds."""

    def can(self, ability: str) -> bool:
        """Whether the platform has other `bots`, `redelivery`, rate `limits` and `refusals`."""


def answer(to: AnyEvent, text: str) -> Reply:
    """The reply to an event, as the dataflow would journal it."""
    return Reply(
        prompt_id=to.id, user=to.user, place=to.place, address=to.address, outcome="answered",
        text=text, said_at=to.said_at, answered_at=to.said_at,
    )  # fmt: skip
