"""The port's contract, seen by a person in front of the platform."""

from typing import Protocol, Self

from bots.platform import ChatPlatform
from shared.messages import AnyEvent, Reply


class World(Protocol):
    """One platform with its adapter listening; `heard` is what the adapter published, in order."""

    platform: ChatPlatform
    heard: list[AnyEvent]

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    async def say(self, text: str, *, author: str = "ada") -> str:
        """Somebody addresses the bot; returns the platform's id of the message.

        Authors: `ada` and `bob` are people, `otherbot` is a bot, `self` is this bot.
        """

    async def deliver_again(self, message_id: str) -> None:
        """The platform delivers the same message once more."""

    async def replies_to(self, message_id: str) -> list[str]:
        """What a person reads below that message, in order."""

    async def end(self) -> None:
        """The adapter's `listen` ends, as it does after a defect."""

    async def refuse_everything(self) -> None:
        """The platform refuses every call from now on, for a reason that will not pass."""

    async def limit_once(self, seconds: float) -> None:
        """The platform refuses the next post with a rate limit of so many seconds."""

    def can(self, ability: str) -> bool:
        """Whether it has `bots` (other authors), `redelivery`, `limits` and `refusals` at all."""


def answer(to: AnyEvent, text: str) -> Reply:
    """The journal's reply to an event, as the flow would write it."""
    return Reply(
        prompt_id=to.id, user=to.user, place=to.place, address=to.address, outcome="answered",
        text=text, said_at=to.said_at, answered_at=to.said_at,
    )  # fmt: skip
