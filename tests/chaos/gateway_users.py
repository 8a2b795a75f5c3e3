"""Gateway users on plain NATS. Each repeats a request under the same id until it is answered."""

import asyncio
import contextlib
import json
from typing import Final

from nats.aio.client import Client

from shared import user_names
from tests.chaos.plan import Act
from tests.chaos.said import Said, Spot
from tests.chaos.slack_users import text_of
from tests.gateway_requests import asked, ignore

REQUEST_S: Final = 4.0
GIVE_UP_S: Final = 150.0
"""After a power cut all processes restart, which takes a minute on a busy machine."""

AGAIN_S: Final = 0.3


class GatewayUsers:
    """All users of the gateway, on one connection to the server."""

    def __init__(self, said: dict[int, Said]) -> None:
        self._said = said
        self._client = Client()
        self.repeats = 0

    async def connect(self, url: str) -> "GatewayUsers":
        await self._client.connect(
            url, name="asker", max_reconnect_attempts=-1, reconnect_time_wait=0.1,  # type: ignore[arg-type]
            error_cb=ignore, pending_size=0,
        )  # fmt: skip
        return self

    async def close(self) -> None:
        with contextlib.suppress(OSError):  # the server may be down
            await self._client.close()

    async def do(self, act: Act) -> None:
        """Asks until an answer arrives."""
        user = user_names.encoded(act.who)
        spot = Spot("gateway", "", user, "", "direct")
        said = self._said[act.number] = Said(act, spot, f"gateway/{act.number}")
        request = json.dumps({"user_id": act.who, "prompt": text_of(act)}).encode()
        deadline = asyncio.get_running_loop().time() + GIVE_UP_S
        others = [
            asyncio.create_task(asked(self._client, request, act.marker, REQUEST_S))
            for _ in range(act.repeats)
        ]  # the same question several times at once
        while asyncio.get_running_loop().time() < deadline:
            answer = await asked(self._client, request, act.marker, REQUEST_S)
            if answer is not None:
                said.answers.append(answer)
                said.accepted = True
                break
            self.repeats += 1
            await asyncio.sleep(AGAIN_S)
        for answer in await asyncio.gather(*others):
            # If it differs, the question got two answers.
            if answer is not None and answer not in said.answers:
                said.answers.append(answer)
        said.done = True
