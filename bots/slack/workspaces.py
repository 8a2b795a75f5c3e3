"""Which workspace's token speaks: one for all, or one for each that installed the app.

It must never use one workspace's token for another.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

import aiohttp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.authorization.async_authorize import AsyncAuthorize
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bots.adapter import Misconfigured
from bots.platform import Gone, Later
from bots.slack.api import AGAIN_S, CALL_ERRORS, client_of, code_of, post_error, wait_of
from shared.connection import Unavailable
from shared.log import logger
from shared.recent import FreshMap

KNOWN_FOR_S: Final = 600.0
"""A workspace that installs again brings another token; one that leaves is forgotten at once."""

KNOWN: Final = 2_000
"""Workspaces whose client is kept, of all that installed the app."""

_WRONG_TOKEN: Final = frozenset({"invalid_auth", "not_authed", "account_inactive", "token_revoked"})


class Installations(Protocol):
    """Where the workspaces' tokens are kept; every call may block for the database."""

    async def token(self, team: str, enterprise: str | None = None) -> str | None:
        """The bot token of a workspace; None where it is not installed."""

    async def forget(self, team: str, enterprise: str | None = None) -> None:
        """Removes a workspace that removed the app."""


class Team:
    """One workspace: its client, and who the bot is there."""

    def __init__(self, client: AsyncWebClient, who: dict[str, Any]) -> None:
        self.client = client
        self.id = str(who.get("team_id") or "")
        self.bot_user = str(who.get("user_id") or "")
        self.bot_id = str(who.get("bot_id") or "")


class Teams(AsyncAuthorize):
    """The workspaces that this process serves; also how Bolt learns whose event it has."""

    def __init__(
        self,
        api_url: str,
        session: aiohttp.ClientSession,
        now: Callable[[], float],
        *,
        token: str | None = None,
        installations: Installations | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._api_url = api_url
        self._session = session
        self._token = token
        self._installations = installations
        self._known: FreshMap[Team] = FreshMap(now, keep=KNOWN, seconds=KNOWN_FOR_S)
        self._only: Team | None = None

    async def first(self) -> Team:
        """The one workspace of the bot token, asked for until Slack answers.

        Raises:
            Misconfigured: Slack refuses the token.
        """
        while self._only is None:
            client = client_of(self._token, self._api_url, self._session)
            try:
                self._only = Team(client, dict((await client.auth_test()).data))  # type: ignore[arg-type]
            except SlackApiError as error:
                if code_of(error) in _WRONG_TOKEN:
                    raise Misconfigured(
                        f"Slack refuses SLACK_BOT_TOKEN ({code_of(error)}): copy it again from "
                        "OAuth & Permissions of your app, or ask `threadwax doctor slack`"
                    ) from error
                await asyncio.sleep(wait_of(error) or AGAIN_S)
            except CALL_ERRORS as error:
                logger().warning("waiting for slack", error=type(error).__name__)
                await asyncio.sleep(AGAIN_S)
        return self._only

    async def of(self, team: str, enterprise: str | None = None) -> Team:
        """A workspace.

        Raises:
            Gone: it does not have the app (any more).
            PostError: Slack does not answer.
        """
        if self._installations is None:
            return await self.first()
        if (known := self._known.get(team)) is not None:
            return known
        try:
            token = await self._installations.token(team, enterprise)
        except Unavailable as error:
            raise Later(str(error), AGAIN_S) from error
        if token is None:
            raise Gone("the app is not installed in that workspace")
        client = client_of(token, self._api_url, self._session)
        try:
            found = Team(client, dict((await client.auth_test()).data))  # type: ignore[arg-type]
        except CALL_ERRORS as error:
            raise post_error(error) from error
        self._known.put(found, team)
        return found

    async def forget(self, team: str, enterprise: str | None = None) -> None:
        """The workspace removed the app."""
        self._known.drop(team)
        if self._installations is not None:
            await self._installations.forget(team, enterprise)

    async def __call__(
        self, *, team_id: str | None, enterprise_id: str | None, **_: Any
    ) -> AuthorizeResult | None:
        """Bolt's question: by which token this event may be answered."""
        try:
            team = await self.of(team_id or "", enterprise_id)
        except Gone:
            return None
        return AuthorizeResult(
            enterprise_id=enterprise_id,
            team_id=team_id,
            bot_user_id=team.bot_user,
            bot_id=team.bot_id,
            bot_token=team.client.token,
        )
