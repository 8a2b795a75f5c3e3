"""The workspaces that installed the app, in the SDK's SQLAlchemy store, called in threads.

The SDK's asynchronous store needs an asynchronous driver; this one works with any driver. It must
never log a token, nor store anything for somebody who only opens the installation page.
"""

import asyncio
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

import sqlalchemy as sa
from slack_bolt.oauth.async_oauth_settings import AsyncOAuthSettings
from slack_sdk.oauth.installation_store.async_installation_store import AsyncInstallationStore
from slack_sdk.oauth.installation_store.models.bot import Bot
from slack_sdk.oauth.installation_store.models.installation import Installation
from slack_sdk.oauth.installation_store.sqlalchemy import SQLAlchemyInstallationStore
from slack_sdk.oauth.state_store.async_state_store import AsyncOAuthStateStore

from bots.slack.manifest import SCOPES
from bots.slack.settings import SlackSettings
from shared.connection import Unavailable
from shared.recent import RecentSet

STATE_S: Final = 600
"""Time limit from the click on "Add to Slack" to its confirmation."""

USED_KEPT: Final = 10_000
"""Used states to remember: each works only once in this process. Slack's code works only once,
too."""


class StateStore(AsyncOAuthStateStore):
    """The OAuth states of installations under way, which are signed instead of stored.

    Everybody who opens the page gets a state, so anybody could fill a table of them. The signature
    and Bolt's cookie prevent forgery.
    """

    def __init__(self, secret: str, now: Callable[[], float] = time.time) -> None:
        self._key = secret.encode()
        self._now = now
        self._used: RecentSet[str] = RecentSet(USED_KEPT)

    async def async_issue(self, *args: Any, **kwargs: Any) -> str:
        """A state for one installation."""
        del args, kwargs
        return self._signed(f"{int(self._now()) + STATE_S}.{secrets.token_urlsafe(16)}")

    async def async_consume(self, state: str) -> bool:
        """Whether we issued the state recently and it was not used before."""
        issued, _, _ = state.rpartition(".")
        until, _, _ = issued.partition(".")
        if not hmac.compare_digest(self._signed(issued).encode(), state.encode()):
            return False
        if self._now() >= int(until) or state in self._used:
            return False
        self._used.add(state)
        return True

    def _signed(self, issued: str) -> str:
        return f"{issued}.{hmac.digest(self._key, b'state ' + issued.encode(), 'sha256').hex()}"


class InstallationStore(AsyncInstallationStore):
    """The tokens of the workspaces."""

    def __init__(self, url: str, client_id: str) -> None:
        engine = sa.create_engine(url)
        if engine.dialect.name == "sqlite":
            sa.event.listen(engine, "connect", _sync_each_commit)
        self._installations = SQLAlchemyInstallationStore(client_id=client_id, engine=engine)

    async def create(self) -> None:
        """Creates the tables that are missing."""
        await asyncio.to_thread(self._installations.create_tables)

    def oauth_settings(self, settings: SlackSettings) -> AsyncOAuthSettings:
        """Bolt's settings for installing the app in workspaces."""
        secret = settings.client_secret.get_secret_value() if settings.client_secret else ""
        return AsyncOAuthSettings(
            client_id=settings.client_id,
            client_secret=secret,
            scopes=list(SCOPES),
            installation_store=self,
            state_store=StateStore(secret),
            state_expiration_seconds=STATE_S,
            installation_store_bot_only=True,
        )

    # --- the SDK's interface ------------------------------------------------------------------

    async def async_save(self, installation: Installation) -> None:
        """Stores an installation instead of the workspace's earlier ones."""
        await asyncio.to_thread(self._save, installation)

    def _save(self, installation: Installation) -> None:
        """Saves a row and deletes older ones: the SDK only adds rows, which could fill the disk."""
        store = self._installations
        store.save(installation)
        for table in (store.installations, store.bots):
            same = sa.and_(
                table.c.client_id == store.client_id,
                table.c.enterprise_id == installation.enterprise_id,
                table.c.team_id == installation.team_id,
            )
            newest = sa.select(sa.func.max(table.c.id)).where(same).scalar_subquery()
            with store.engine.begin() as connection:
                connection.execute(table.delete().where(same, table.c.id < newest))

    async def async_save_bot(self, bot: Bot) -> None:
        """Stores a workspace's bot token; the newest one counts."""
        await asyncio.to_thread(self._installations.save_bot, bot)

    async def async_find_bot(
        self,
        *,
        enterprise_id: str | None,
        team_id: str | None,
        is_enterprise_install: bool | None = False,
    ) -> Bot | None:
        """The bot of a workspace, or that of its whole organization."""

        def find(enterprise: str | None, *, whole: bool | None) -> Bot | None:
            return self._installations.find_bot(
                enterprise_id=enterprise, team_id=team_id, is_enterprise_install=whole
            )

        # The event names the organization even if the app is installed only in the workspace.
        found = await asyncio.to_thread(find, enterprise_id, whole=is_enterprise_install)
        if found is None and enterprise_id is not None:
            found = await asyncio.to_thread(find, enterprise_id, whole=True)
        if found is None and enterprise_id is not None:
            found = await asyncio.to_thread(find, None, whole=False)
        return found

    async def async_delete_bot(self, *, enterprise_id: str | None, team_id: str | None) -> None:
        """Deletes the token of a workspace."""
        await asyncio.to_thread(
            self._installations.delete_bot, enterprise_id=enterprise_id, team_id=team_id
        )

    # --- ours -----------------------------------------------------------------------------------

    async def token(self, team: str, enterprise: str | None = None) -> str | None:
        """The bot token of a workspace; None if it has not installed the app."""
        try:
            bot = await self.async_find_bot(enterprise_id=enterprise, team_id=team)
        except sa.exc.SQLAlchemyError as error:
            raise Unavailable("the database of installations does not answer") from error
        return bot.bot_token if bot is not None else None

    async def forget(self, team: str, enterprise: str | None = None) -> None:
        """Deletes everything about a workspace that removed the app."""
        for owner in {enterprise, None}:
            await asyncio.to_thread(
                self._installations.delete_all, enterprise_id=owner, team_id=team
            )


def _sync_each_commit(connection: Any, _: Any) -> None:
    # SQLite's default does not sync the folder, so a power cut could undo the commit of a token.
    # https://sqlite.org/pragma.html#pragma_synchronous
    connection.execute("PRAGMA synchronous = EXTRA")


def database_fault(url: str) -> str:
    """What is wrong with a database URL, without connecting; empty if nothing is."""
    try:
        sa.create_engine(url)
    except sa.exc.ArgumentError:
        return "write it as SQLAlchemy does, for example postgresql://user:password@host/database"
    except ModuleNotFoundError as error:
        return f"its driver is not installed: pip install {error.name}"
    return ""
