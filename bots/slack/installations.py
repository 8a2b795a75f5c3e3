"""The workspaces that installed the app: the SDK's stores on SQLAlchemy, run in threads.

The SDK's asynchronous stores want asynchronous drivers; so its others are used, with any driver. It
must never log a token.
"""

import asyncio
from typing import Any, Final

import sqlalchemy as sa
from slack_bolt.oauth.async_oauth_settings import AsyncOAuthSettings
from slack_sdk.oauth.installation_store.async_installation_store import AsyncInstallationStore
from slack_sdk.oauth.installation_store.models.bot import Bot
from slack_sdk.oauth.installation_store.models.installation import Installation
from slack_sdk.oauth.installation_store.sqlalchemy import SQLAlchemyInstallationStore
from slack_sdk.oauth.state_store.async_state_store import AsyncOAuthStateStore
from slack_sdk.oauth.state_store.sqlalchemy import SQLAlchemyOAuthStateStore

from bots.slack.settings import SlackSettings

STATE_S: Final = 600
"""From the click on "Add to Slack" to its confirmation."""


class Store(AsyncInstallationStore, AsyncOAuthStateStore):
    """Tokens by workspace, and the states of installations under way."""

    def __init__(self, url: str, client_id: str) -> None:
        engine = sa.create_engine(url)
        if engine.dialect.name == "sqlite":
            sa.event.listen(engine, "connect", _sync_each_commit)
        self._installations = SQLAlchemyInstallationStore(client_id=client_id, engine=engine)
        self._states = SQLAlchemyOAuthStateStore(expiration_seconds=STATE_S, engine=engine)

    async def create(self) -> None:
        """Creates the tables that are missing."""
        await asyncio.to_thread(self._installations.create_tables)
        await asyncio.to_thread(self._states.metadata.create_all, self._states.engine)

    # --- the SDK's interface ------------------------------------------------------------------

    async def async_save(self, installation: Installation) -> None:
        """Keeps what an installation brought."""
        await asyncio.to_thread(self._installations.save, installation)

    async def async_save_bot(self, bot: Bot) -> None:
        """Keeps a workspace's bot token; the newest counts."""
        await asyncio.to_thread(self._installations.save_bot, bot)

    async def async_find_bot(
        self,
        *,
        enterprise_id: str | None,
        team_id: str | None,
        is_enterprise_install: bool | None = False,
    ) -> Bot | None:
        """A workspace's bot, or that of its whole organisation."""

        def find(enterprise: str | None, *, whole: bool | None) -> Bot | None:
            return self._installations.find_bot(
                enterprise_id=enterprise, team_id=team_id, is_enterprise_install=whole
            )

        # An event of a workspace names its organisation, under which it may be installed or not.
        found = await asyncio.to_thread(find, enterprise_id, whole=is_enterprise_install)
        if found is None and enterprise_id is not None:
            found = await asyncio.to_thread(find, enterprise_id, whole=True)
        if found is None and enterprise_id is not None:
            found = await asyncio.to_thread(find, None, whole=False)
        return found

    async def async_delete_bot(self, *, enterprise_id: str | None, team_id: str | None) -> None:
        """Forgets a workspace's token."""
        await asyncio.to_thread(
            self._installations.delete_bot, enterprise_id=enterprise_id, team_id=team_id
        )

    async def async_issue(self, *args: Any, **kwargs: Any) -> str:
        """A state for one installation."""
        return await asyncio.to_thread(self._states.issue, *args, **kwargs)

    async def async_consume(self, state: str) -> bool:
        """Whether the state was issued by us, not long ago, and not used before."""
        return await asyncio.to_thread(self._states.consume, state)

    # --- ours -----------------------------------------------------------------------------------

    async def token(self, team: str, enterprise: str | None = None) -> str | None:
        """The bot token of a workspace; None where it is not installed."""
        bot = await self.async_find_bot(enterprise_id=enterprise, team_id=team)
        return bot.bot_token if bot is not None else None

    async def forget(self, team: str, enterprise: str | None = None) -> None:
        """Removes a workspace that removed the app."""
        for owner in {enterprise, None}:
            await asyncio.to_thread(
                self._installations.delete_all, enterprise_id=owner, team_id=team
            )


def _sync_each_commit(connection: Any, _: Any) -> None:
    # By default the folder is not synced, so a power cut can undo a commit: a token that was shown
    # as installed. https://sqlite.org/pragma.html#pragma_synchronous
    connection.execute("PRAGMA synchronous = EXTRA")


def oauth_settings(settings: SlackSettings, store: Store) -> AsyncOAuthSettings:
    """How Bolt installs the app in a workspace."""
    from bots.slack.app import SCOPES  # noqa: PLC0415  (it wires what is wired here)

    secret = settings.client_secret
    return AsyncOAuthSettings(
        client_id=settings.client_id,
        client_secret=secret.get_secret_value() if secret else None,
        scopes=list(SCOPES),
        installation_store=store,
        state_store=store,
        installation_store_bot_only=True,
    )
