"""Placeholders: Discord shows one for a command that waits for its answer, for up to 15 minutes.

It must never leave a placeholder without a message: shortly before its token expires, it says that
the answer will come as a new message.
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
"""Time left for an edit that has to wait for a rate limit."""

NOTICE_BEFORE_S: Final = 60.0
DEFERRED_WITHIN_S: Final = 5.0


@dataclass(slots=True)
class _Placeholder:
    shown: asyncio.Event = field(default_factory=asyncio.Event)
    message: int | None = None
    notice: "asyncio.Task[None] | None" = None
    failed: bool = False


class Placeholders:
    """The placeholders that this process showed.

    After a restart, the token in a question's address is enough to replace an older one.
    """

    def __init__(self, clock: DiscordClock) -> None:
        self._clock = clock
        self._by_token: dict[str, _Placeholder] = {}

    def expect(self, interaction: Any) -> None:
        """Register a command before its question is published."""
        self._by_token[interaction.token] = _Placeholder()

    @staticmethod
    def address_for(interaction: Any, address: Address) -> Address:
        """The address of an answer to a command; valid for as long as the command's token."""
        expires = int(interaction.created_at.timestamp() + TOKEN_LIFE_S)
        return {
            **address,
            "token": interaction.token,
            "expires": str(expires),
            "application": str(interaction.application_id),
        }

    def mark_failed(self, token: str) -> None:
        """No placeholder will be shown."""
        placeholder = self._by_token.get(token)
        if placeholder is None:
            return
        placeholder.failed = True
        placeholder.shown.set()
        # No answer will remove it; after the token has expired, nothing looks it up.
        asyncio.get_running_loop().call_later(TOKEN_LIFE_S, self._by_token.pop, token, None)

    def mark_shown(self, interaction: Any, message: int | None) -> None:
        """The placeholder is shown; `message` is its id if that is known."""
        placeholder = self._by_token.get(interaction.token)
        if placeholder is None:
            return  # already replaced by its answer
        placeholder.message = message
        placeholder.shown.set()
        delay = self._announce_delay(
            self.address_for(interaction, {}), interaction.client.http, interaction.locale
        )
        placeholder.notice = asyncio.create_task(delay)

    async def is_open(self, address: Address) -> bool:
        """Whether an answer can still replace the placeholder; waits until it is shown."""
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
        """The placeholder's message id, if this process showed it."""
        known = self._by_token.get(address.get("token", ""))
        return known.message if known else None

    def mark_filled(self, token: str) -> None:
        """The answer has replaced the placeholder."""
        known = self._by_token.pop(token, None)
        if known is not None and known.notice is not None:
            known.notice.cancel()

    def route(self, method: str, address: Address) -> Route:
        """A request for the placeholder itself."""
        return Route(
            method,
            "/webhooks/{webhook_id}/{webhook_token}/messages/@original",
            webhook_id=int(address["application"]),
            webhook_token=address["token"],
        )

    def close(self) -> None:
        """Cancel all pending notices."""
        for placeholder in self._by_token.values():
            if placeholder.notice is not None:
                placeholder.notice.cancel()

    async def _announce_delay(self, address: Address, http: HTTPClient, locale: Any) -> None:
        left_s = float(address["expires"]) - self._clock.now() - NOTICE_BEFORE_S
        await asyncio.sleep(max(0.0, left_s))
        body = {"content": notice_text("takes longer", locale), "allowed_mentions": {"parse": []}}
        with suppress(*FAILURES):
            await http.request(self.route("PATCH", address), json=body)
        # The notice stays as a message; an answer in the token's last minute may still replace it.
        self._by_token.pop(address["token"], None)
