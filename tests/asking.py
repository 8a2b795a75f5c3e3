"""A client of the fake model that records the text it was given to show."""

import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from dataflow.model.client import ModelClient
from dataflow.model.dialects import DIALECTS, Dialect
from dataflow.model.endpoint import Endpoint
from dataflow.model.errors import NOTICES, ModelError, Why
from dataflow.model.request_body import Asker as WhoAsks
from dataflow.model.status import Waiting
from tests.fakes.model import FakeModel

Messages = tuple[dict[str, Any], ...]

QUESTION: Messages = (
    {"role": "system", "content": "s"},
    {"role": "user", "content": "hello"},
)


def conversation(turns: int, chars: int = 100) -> Messages:
    """A request with this many earlier turns, each with two messages of `chars` characters."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": "persona"}]
    for turn in range(turns):
        messages.append({"role": "user", "content": f"q{turn} ".ljust(chars, "x")})
        messages.append({"role": "assistant", "content": f"a{turn} ".ljust(chars, "x")})
    return (*messages, {"role": "user", "content": "the question"})


class Asker:
    """A client, and everything that its last question reported."""

    def __init__(self, endpoint: Endpoint, **options: Any) -> None:
        self.shown: list[str] = []
        self.taken_back = 0
        self.waits: list[Waiting] = []
        self.client = ModelClient(lambda: endpoint, rng=random.Random(1), **options)

    async def ask(self, model: str | None = None, messages: Messages = QUESTION) -> str:
        """Returns the answer."""
        self.shown, self.waits, self.taken_back = [], [], 0
        completion = await self.client.answer(
            messages,
            model=model,
            on_text=self.shown.append,
            on_start_over=self._start_over,
            on_wait=self.waits.append,
            asker=WhoAsks("slack:T_U", "T/C/1"),
        )
        self.usage, self.model = completion.usage, completion.model
        return completion.text

    async def failure(self, messages: Messages = QUESTION) -> Why:
        """Asks a question that fails; returns the reason."""
        with pytest.raises(ModelError) as failed:
            await self.ask(messages=messages)
        assert failed.value.notice == NOTICES[failed.value.why]
        assert str(failed.value).isprintable()
        return failed.value.why

    def _start_over(self) -> None:
        self.shown.clear()
        self.taken_back += 1


MakeAsker = Callable[..., Asker]


@pytest.fixture
async def asker(fake_model: FakeModel) -> AsyncIterator[MakeAsker]:
    """Makes clients of the fake model, and closes them after the test."""
    made: list[Asker] = []

    def make(  # noqa: PLR0917
        dialect: Dialect = DIALECTS["vllm"],
        give_up_s: float = 20.0,
        silence_s: float = 5.0,
        base_url: str = "",
        answer_tokens: int = 50,
        fallback: Endpoint | None = None,
        **endpoint: Any,
    ) -> Asker:
        url = base_url or fake_model.base_url
        made.append(
            Asker(
                Endpoint(url, "key", "fake", dialect, **endpoint),
                answer_tokens=answer_tokens,
                give_up_after_s=give_up_s,
                silence_s=silence_s,
                fallback=fallback,
            )
        )
        return made[-1]

    yield make
    for one in made:
        await one.client.close()
