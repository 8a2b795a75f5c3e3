"""Growing answers: the newest text of each is shown, and those in between are not parsed."""

import asyncio

from nats.aio.client import Client
from nats.aio.msg import Msg

from bots.newest_partials import NewestPartials
from shared import names
from shared.messages import Place
from shared.replies import Partial

PLACE = Place(platform="web", channel="web", audience="direct")


def message(prompt_id: str, sequence: int) -> Msg:
    partial = Partial(
        prompt_id=prompt_id, user="web:ada", place=PLACE, text=f"text {sequence}", attempt=1,
        sequence=sequence,
    )  # fmt: skip
    subject = names.partial_subject(partial.user, prompt_id)
    return Msg(Client(), subject=subject, data=partial.wire())


async def test_the_first_is_shown_at_once_and_then_the_newest_of_each() -> None:
    shown: list[tuple[str, int]] = []
    growing = NewestPartials(lambda partial: shown.append((partial.prompt_id, partial.sequence)))
    await growing.take(message("a", 1))
    await asyncio.sleep(0)
    assert shown == [("a", 1)]
    for sequence in range(2, 50):
        await growing.take(message("a", sequence))
        await growing.take(message("b", sequence))
    async with asyncio.timeout(10):
        while len(shown) < 3:
            await asyncio.sleep(0.01)
    await growing.close()
    assert shown == [("a", 1), ("a", 49), ("b", 49)]


async def test_what_cannot_be_read_is_left_out() -> None:
    shown: list[str] = []
    growing = NewestPartials(lambda partial: shown.append(partial.prompt_id))
    await growing.take(Msg(Client(), subject="partials.web.ada.x", data=b"{}"))
    await growing.take(message("b", 1))
    await asyncio.sleep(0)
    await growing.close()
    assert shown == ["b"]


async def test_nothing_is_shown_after_the_end() -> None:
    shown: list[str] = []
    growing = NewestPartials(lambda partial: shown.append(partial.prompt_id))
    await growing.take(message("a", 1))
    await asyncio.sleep(0)
    await growing.take(message("a", 2))
    await growing.close()
    await asyncio.sleep(0.1)
    assert shown == ["a"]
