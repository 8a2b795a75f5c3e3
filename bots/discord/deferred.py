"""Commands that wait for their answer: Discord shows a placeholder, for 15 minutes at most.

It must never leave a placeholder behind in silence: shortly before its time is over it says that
the answer comes as a message of its own.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from discord.http import HTTPClient, Route

from bots.discord.clock import DiscordClock
from bots.discord.errors import FAILURES
from bots.discord.wording import notice_text
from shared.messages import Address

TOKEN_LIFE_S: Final = 15 * 60.0
"""https://docs.discord.com/developers/interactions/receiving-and-responding"""

SAFE_S: Final = 30.0
"""An edit may have to wait for a rate limit."""

NOTICE_BEFORE_S: Final = 60.0
DEFERRED_WITHIN_S: Final = 5.0


@dataclass(slots=True)
class _Placeholder:
    shown: asyncio.Event = field(default_factory=asyncio.Event)
    message: int | None = None
    notice: "asyncio.Task[None] | None" = None
    failed: bool = False


class Placeholders:
    """The placeholders of this process; an answer after a restart finds its own by the token."""

    def __init__(self, clock: DiscordClock) -> None:
        self._clock = clock
        self._by_token: dict[str, _Placeholder] = {}

    def expect(self, interaction: Any) -> None:
        """Notes a command before it is published."""
        self._by_token[interaction.token] = _Placeholder()

    @staticmethod
    def address_for(interaction: Any, address: Address) -> Address:
        """The address of an answer to a command, which holds for as long as its token."""
        expires = int(interaction.created_at.timestamp() + TOKEN_LIFE_S)
        return {
            **address,
            "token": interaction.token,
            "expires": str(expires),
            "application": str(interaction.application_id),
        }

    def mark_failed(self, token: str) -> None:
        """There will be no placeholder."""
        placeholder = self._by_token.get(token)
        if placeholder is None:
            return
        placeholder.failed = True
        placeholder.shown.set()
        # Nobody fills it; and once its token is over, nobody asks for it.
        asyncio.get_running_loop().call_later(TOKEN_LIFE_S, self._by_token.pop, token, None)

    def mark_shown(self, interaction: Any, message: int | None) -> None:
        """The placeholder is shown."""
        placeholder = self._by_token.get(interaction.token)
        if placeholder is None:
            return  # filled already
        placeholder.message = message
        placeholder.shown.set()
        delay = self._announce_delay(
            self.address_for(interaction, {}), interaction.client.http, interaction.locale
        )
        placeholder.notice = asyncio.create_task(delay)

    async def is_open(self, address: Address) -> bool:
        """Whether an answer can go into the placeholder; waits until that is there."""
        token = address.get("token")
        if token is None:
            return False
        placeholder = self._by_token.get(token)
        if placeholder is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(DEFERRED_WITHIN_S):
                    await placeholder.shown.wait()
            if placeholder.failed:
                return False
        return self._clock.now() < float(address["expires"]) - SAFE_S

    def message_of(self, address: Address) -> int | None:
        """The placeholder's message, where this process showed it."""
        known = self._by_token.get(address.get("token", ""))
        return known.message if known else None

    def mark_filled(self, token: str) -> None:
        """The answer is there."""
        known = self._by_token.pop(token, None)
        if known is not None and known.notice is not None:
            known.notice.cancel()

    def route(self, method: str, address: Address) -> Route:
        """The request for the placeholder itself."""
        return Route(
            method,
            "/webhooks/{webhook_id}/{webhook_token}/messages/@original",
            webhook_id=int(address["application"]),
            webhook_token=address["token"],
        )

    def close(self) -> None:
        """Ends the waiting."""
        for placeholder in self._by_token.values():
            if placeholder.notice is not None:
                placeholder.notice.cancel()

    async def _announce_delay(self, address: Address, http: HTTPClient, locale: Any) -> None:
        left_s = float(address["expires"]) - self._clock.now() - NOTICE_BEFORE_S
        await asyncio.sleep(max(0.0, left_s))
        body = {"content": notice_text("takes longer", locale), "allowed_mentions": {"parse": []}}
        with suppress(*FAILURES):
            await http.request(self.route("PATCH", address), json=body)
        # It is a message by itself now: an answer in its last minute may still replace it.
        self._by_token.pop(address["token"], None)
