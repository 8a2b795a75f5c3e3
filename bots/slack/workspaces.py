"""The workspaces that the adapter serves: one for a bot token, or each one that installed the app.

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
from bots.slack.api import client_of
from bots.slack.errors import (
    CALL_ERRORS,
    RETRY_S,
    TOKEN_RETRY_S,
    WRONG_TOKEN,
    code_of,
    post_error,
    wait_of,
)
from shared.connection import Unavailable
from shared.log import logger
from shared.recent import FreshMap

REMEMBERED_FOR_S: Final = 600.0
"""A token that Slack refuses is forgotten at once: only one of several processes hears that a
workspace removed the app, or installed it again."""

REMEMBERED: Final = 2_000
"""Workspaces whose clients are kept."""


class Installations(Protocol):
    """The stored tokens of the workspaces; every call may wait for the database."""

    async def token(self, team: str, enterprise: str | None = None) -> str | None:
        """The bot token of a workspace; None if it has not installed the app."""

    async def forget(self, team: str, enterprise: str | None = None) -> None:
        """Deletes the tokens of a workspace."""


class Workspace:
    """One workspace: its client, and who the bot is there."""

    def __init__(self, client: AsyncWebClient, who: dict[str, Any]) -> None:
        """`who` is the response to `auth.test`."""
        self.client = client
        self.id = str(who.get("team_id") or "")
        self.bot_user = str(who.get("user_id") or "")
        self.bot_id = str(who.get("bot_id") or "")


class Workspaces(AsyncAuthorize):
    """Finds the workspace of an event, for us and for Bolt."""

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
        self._known: FreshMap[Workspace] = FreshMap(now, keep=REMEMBERED, seconds=REMEMBERED_FOR_S)
        self._only: Workspace | None = None

    async def first(self) -> Workspace:
        """The workspace of the bot token; asks until Slack answers.

        Raises:
            Misconfigured: Slack refuses the token.
        """
        while self._only is None:
            client = client_of(self._token, self._api_url, self._session)
            try:
                self._only = Workspace(client, dict((await client.auth_test()).data))  # type: ignore[arg-type]
            except SlackApiError as error:
                if code_of(error) in WRONG_TOKEN:
                    raise Misconfigured(
                        f"Slack refuses SLACK_BOT_TOKEN ({code_of(error)}): copy it again from "
                        "OAuth & Permissions of your app, or ask `threadwax doctor slack`"
                    ) from error
                await asyncio.sleep(wait_of(error) or RETRY_S)
            except CALL_ERRORS as error:
                logger().warning("waiting for slack", error=type(error).__name__)
                await asyncio.sleep(RETRY_S)
        return self._only

    async def of(self, team: str, enterprise: str | None = None) -> Workspace:
        """The workspace with this id.

        Raises:
            Gone: it does not have the app, or no longer has it.
            PostError: Slack does not answer.
        """
        if self._installations is None:
            try:
                return await self.first()
            except Misconfigured as error:  # `listen` reports it, and ends the process
                raise Later("Slack refuses the token", TOKEN_RETRY_S) from error
        if (known := self._known.get(team)) is not None:
            return known
        try:
            token = await self._installations.token(team, enterprise)
        except Unavailable as error:
            raise Later(str(error), RETRY_S) from error
        if token is None:
            raise Gone("the app is not installed in that workspace")
        client = client_of(
            token, self._api_url, self._session, on_refused_token=lambda: self._known.drop(team)
        )
        try:
            found = Workspace(client, dict((await client.auth_test()).data))  # type: ignore[arg-type]
        except CALL_ERRORS as error:
            raise post_error(error) from error
        self._known.put(found, team)
        return found

    async def forget(self, team: str, enterprise: str | None = None) -> None:
        """Forgets a workspace that removed the app."""
        if self._installations is not None:
            await self._installations.forget(team, enterprise)
        self._known.drop(team)  # last: an event meanwhile could still find the stored token

    async def __call__(
        self, *, team_id: str | None, enterprise_id: str | None, **_: Any
    ) -> AuthorizeResult | None:
        """Tells Bolt which token to use for an event."""
        try:
            workspace = await self.of(team_id or "", enterprise_id)
        except Gone:
            return None
        return AuthorizeResult(
            enterprise_id=enterprise_id,
            team_id=team_id,
            bot_user_id=workspace.bot_user,
            bot_id=workspace.bot_id,
            bot_token=workspace.client.token,
        )
