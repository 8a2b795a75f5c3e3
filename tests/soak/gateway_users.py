"""The process with the gateway's users, who repeat a request under the same id until answered."""

import asyncio
import json
import random
import sys
from typing import Any, Final

from nats.aio.client import Client

from tests.gateway_requests import asked, ignore
from tests.soak.users import SoakUsers, run

REQUEST_S: Final = 20.0
AGAIN_S: Final = 1.0


class SoakGatewayUsers(SoakUsers):
    """Users of the gateway. Each question is a place of its own."""

    platform = "gateway"

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._client = Client()
        self._answers: dict[str, list[str]] = {}
        self._asking: set[asyncio.Task[None]] = set()

    async def start(self, **options: str) -> dict[str, str]:
        await self._client.connect(
            options["url"], name="askers", max_reconnect_attempts=-1, reconnect_time_wait=0.2,  # type: ignore[arg-type]
            error_cb=ignore, pending_size=0,
        )  # fmt: skip
        return {}

    async def until_connected(self) -> None:
        """Does nothing: requests are repeated until the gateway is there."""

    def kind(self, rng: random.Random) -> str:
        del rng
        return "request"

    async def ask(self, who: str, kind: str, where: str, text: str) -> tuple[str, Any]:
        del kind, where
        marker = text.partition(" ")[0]
        task = asyncio.create_task(self._until_answered(who, marker, text))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)
        return marker, None

    async def _until_answered(self, who: str, marker: str, text: str) -> None:
        request = json.dumps({"user_id": who, "prompt": text}).encode()
        while (answer := await asked(self._client, request, marker, REQUEST_S)) is None:
            await asyncio.sleep(AGAIN_S)
        self._answers[marker] = [answer]

    def texts(self) -> dict[str, list[str]]:
        return self._answers

    async def forget(self, where: str) -> None:
        self._answers.pop(where, None)


if __name__ == "__main__":
    asyncio.run(run(SoakGatewayUsers(int(sys.argv[1])), sys.argv[2:]))
