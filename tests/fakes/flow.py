"""A fake dataflow: reads the stored events and journals the answers that a test wants.

It uses a real nats-server through the real bus, and keeps no conversations.
"""

import asyncio
import contextlib
from collections import Counter
from datetime import UTC, datetime
from typing import Final

from nats.aio.msg import Msg

from shared import names
from shared.bus import Bus
from shared.event_parsing import event_of
from shared.follow import Position, follow
from shared.messages import AnyEvent, Ask, Forget, Stop
from shared.replies import Outcome, Partial, Reply
from shared.tasks import end

AGAIN_S: Final = 0.2


class FakeFlow:
    """Answers `echo ...` to every question, except those that begin with one of these words.

    `fail`: a failed reply. `wait`: answered by `release()`. `raw`: the escape sequences in `RAW`.
    `stoppable`: a partial, and an answer when it is stopped. `grow`: Markdown that grows in many
    partials. `retried`: the growing text is replaced by another one. `slow`: one status after
    another until `release()` answers it.
    """

    REASONS = (
        "My language model is overloaded, I keep trying.",
        "The question before yours is still being answered.",
    )
    GROWN_PARTS = 120
    RAW = "plain \x1b[31mred\x1b]0;title\x07 \x08\x9b1mend\u202e\ttab"
    RAW_SHOWN = "plain red end\ttab"

    def __init__(self, bus: Bus) -> None:
        self.events: list[AnyEvent] = []
        self.arrived = asyncio.Event()
        self.after: str | None = None
        """The predecessor named in later replies."""
        self._bus = bus
        self._released = asyncio.Event()
        self._stops: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._sequence = 0
        self._reading: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, url: str) -> "FakeFlow":
        """Starts a fake dataflow that reads from now on."""
        flow = cls(await Bus.connect(url, name="flow"))
        last = (await flow._bus.js.stream_info(names.PROMPTS)).state.last_seq
        flow._reading = asyncio.create_task(
            follow(flow._bus, names.PROMPTS, "p.>", after=Position(last), deliver=flow._take)
        )
        return flow

    async def stop(self) -> None:
        """Stops it, even if questions are unanswered."""
        if self._reading is not None:
            await end(self._reading, *self._tasks)
        await self._bus.close()

    def release(self) -> None:
        """Answers all waiting questions."""
        self._released.set()

    def asked(self, user: str) -> Counter[str]:
        """Counts how often each text of a user was stored."""
        return Counter(e.text for e in self.events if isinstance(e, Ask) and e.user == user)

    async def until_asked(self, text: str, *, seconds: float = 10.0) -> Ask:
        """Waits for the question with this text."""
        async with asyncio.timeout(seconds):
            while True:
                for event in self.events:
                    if isinstance(event, Ask) and event.text == text:
                        return event
                self.arrived.clear()
                await self.arrived.wait()

    async def _take(self, message: Msg) -> None:
        event = event_of(message.data, names.user_of_stored(message.subject))
        self.events.append(event)
        self.arrived.set()
        if isinstance(event, Stop) and event.prompt_id:
            self._stops.setdefault(event.prompt_id, asyncio.Event()).set()
        if isinstance(event, Forget):
            await self._reply(event, "erased", "answered")
        if isinstance(event, Ask):
            task = asyncio.create_task(self._answer(event))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, ask: Ask) -> None:
        match ask.text.split()[0]:
            case "fail":
                await self._reply(ask, "The model cannot be reached.", "failed")
            case "raw":
                await self._reply(ask, self.RAW, "answered")
            case "wait":
                await self._released.wait()
                await self._reply(ask, f"echo {ask.text}", "answered")
            case "stoppable":
                stopped = self._stops.setdefault(ask.id, asyncio.Event())
                while not stopped.is_set():  # a partial may be lost
                    await self._show(ask, "said so far")
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(stopped.wait(), AGAIN_S)
                await self._reply(ask, "said so far, then stopped", "stopped")
            case "grow":
                text = grown(self.GROWN_PARTS)
                for end in range(0, len(text), 97):
                    await self._show(ask, text[:end])
                    await asyncio.sleep(0.01)
                await self._reply(ask, text, "answered")
            case "retried":
                for _ in range(5):  # a partial may be lost
                    await self._show(ask, "First try.\n\nIt")
                    await asyncio.sleep(AGAIN_S)
                await self._reply(ask, "Second try.", "answered")
            case "slow":
                for reason in self.REASONS:
                    await self._show(ask, "", status=reason)
                    await asyncio.sleep(0.5)
                await self._released.wait()
                await self._reply(ask, f"echo {ask.text}", "answered")
            case _:
                await self._reply(ask, f"echo {ask.text}", "answered")

    async def _show(self, ask: Ask, text: str, *, status: str = "") -> None:
        self._sequence += 1
        await self._bus.show_partial(
            Partial(
                prompt_id=ask.id,
                user=ask.user,
                place=ask.place,
                address=ask.address,
                text=text,
                attempt=1,
                sequence=self._sequence,
                after=self.after,
                status=status,
            )
        )

    async def _reply(self, ask: Ask | Forget, text: str, outcome: Outcome) -> None:
        await self._bus.journal(
            Reply(
                prompt_id=ask.id,
                user=ask.user,
                place=ask.place,
                address=ask.address,
                outcome=outcome,
                text=text,
                prompt_text=ask.text[:1000] if isinstance(ask, Ask) else "",
                said_at=ask.said_at,
                answered_at=datetime.now(UTC),
            )
        )


def grown(parts: int) -> str:
    """Returns Markdown of many kinds, in numbered parts."""
    kinds = (
        "A paragraph, part {0}, that is long enough to be wrapped, **bold** and `code` in it.\n\n",
        "- an item, part {0}\n",
        "\n1. a numbered item, part {0}\n\n",
        "```python\nx = 1  # part {0}\n\ny = 2\n```\n\n",
        "| a | b |\n|---|---|\n| part {0} | 日本語 😀 |\n\n",
        "> a quotation, part {0}\n\n",
        "## A heading, part {0}\n\n",
    )
    return "".join(kinds[n % len(kinds)].format(n) for n in range(parts)) + "The end of it."
