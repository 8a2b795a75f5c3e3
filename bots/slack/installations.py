"""The workspaces that installed the app, in a database: the SDK's InstallationStore on SQLAlchemy.

The SDK's own store for SQLAlchemy wants asynchronous drivers; this one works with every driver, in
threads. It must never log a token.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from slack_bolt.oauth.async_oauth_settings import AsyncOAuthSettings
from slack_sdk.oauth.installation_store.async_installation_store import AsyncInstallationStore
from slack_sdk.oauth.installation_store.models.bot import Bot
from slack_sdk.oauth.installation_store.models.installation import Installation
from slack_sdk.oauth.state_store.async_state_store import AsyncOAuthStateStore

from bots.slack.settings import SlackSettings

STATE_S: Final = 600
"""From the click on "Add to Slack" to its confirmation."""

T = TypeVar("T")

_METADATA: Final = sa.MetaData()
_BOTS: Final = sa.Table(
    "slack_installations",
    _METADATA,
    sa.Column("enterprise_id", sa.String(32), primary_key=True),
    sa.Column("team_id", sa.String(32), primary_key=True),
    sa.Column("bot_token", sa.String(255), nullable=False),
    sa.Column("bot_id", sa.String(32), nullable=False),
    sa.Column("bot_user_id", sa.String(32), nullable=False),
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("installed_at", sa.Float, nullable=False),
)
_STATES: Final = sa.Table(
    "slack_oauth_states",
    _METADATA,
    sa.Column("state", sa.String(64), primary_key=True),
    sa.Column("until", sa.Float, nullable=False),
)


class Store(AsyncInstallationStore, AsyncOAuthStateStore):
    """Tokens by workspace, and the states of installations under way."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url)

    async def create(self) -> None:
        """Creates the tables that are missing."""
        await asyncio.to_thread(_METADATA.create_all, self._engine)

    async def _run(self, work: Callable[[sa.Connection], T]) -> T:
        def run() -> T:
            with self._engine.begin() as connection:
                return work(connection)

        return await asyncio.to_thread(run)

    # --- the SDK's interface ------------------------------------------------------------------

    async def async_save(self, installation: Installation) -> None:
        """Keeps what an installation brought."""
        await self.async_save_bot(installation.to_bot())

    async def async_save_bot(self, bot: Bot) -> None:
        """Keeps a workspace's bot token; the newest counts."""
        row: dict[str, Any] = {
            "enterprise_id": bot.enterprise_id or "",
            "team_id": bot.team_id or "",
            "bot_token": bot.bot_token,
            "bot_id": bot.bot_id,
            "bot_user_id": bot.bot_user_id,
            "scopes": ",".join(bot.bot_scopes or ()),
            "installed_at": bot.installed_at,
        }

        def save(connection: sa.Connection) -> None:
            connection.execute(sa.delete(_BOTS).where(*_of(row["enterprise_id"], row["team_id"])))
            connection.execute(sa.insert(_BOTS).values(row))

        await self._run(save)

    async def async_find_bot(
        self,
        *,
        enterprise_id: str | None,
        team_id: str | None,
        is_enterprise_install: bool | None = False,
    ) -> Bot | None:
        """A workspace's bot, or that of its whole organisation."""
        del is_enterprise_install

        def find(connection: sa.Connection) -> Any:
            # An event of a workspace names its organisation, under which it may be installed.
            wheres = [_of(enterprise_id or "", team_id or ""), (_BOTS.c.team_id == team_id,)]
            if enterprise_id:
                wheres.append(_of(enterprise_id, ""))
            for where in wheres:
                row = connection.execute(sa.select(_BOTS).where(*where)).mappings().first()
                if row is not None:
                    return row
            return None

        row = await self._run(find)
        if row is None:
            return None
        return Bot(
            enterprise_id=row["enterprise_id"] or None,
            team_id=row["team_id"] or None,
            bot_token=row["bot_token"],
            bot_id=row["bot_id"],
            bot_user_id=row["bot_user_id"],
            bot_scopes=row["scopes"],
            installed_at=row["installed_at"],
        )

    async def async_delete_bot(self, *, enterprise_id: str | None, team_id: str | None) -> None:
        """Forgets a workspace."""
        del enterprise_id
        await self._run(lambda c: c.execute(sa.delete(_BOTS).where(_BOTS.c.team_id == team_id)))

    async def async_issue(self, *args: Any, **kwargs: Any) -> str:
        """A state for one installation."""
        del args, kwargs
        state, now = secrets.token_urlsafe(32), time.time()

        def issue(connection: sa.Connection) -> None:
            connection.execute(sa.delete(_STATES).where(_STATES.c.until < now))
            connection.execute(sa.insert(_STATES).values(state=state, until=now + STATE_S))

        await self._run(issue)
        return state

    async def async_consume(self, state: str) -> bool:
        """Whether the state was issued by us, not long ago, and not used before."""
        where = (_STATES.c.state == state, _STATES.c.until > time.time())
        result = await self._run(lambda c: c.execute(sa.delete(_STATES).where(*where)).rowcount)
        return bool(result)

    # --- ours -----------------------------------------------------------------------------------

    async def token(self, team: str, enterprise: str | None = None) -> str | None:
        """The bot token of a workspace; None where it is not installed."""
        bot = await self.async_find_bot(enterprise_id=enterprise, team_id=team)
        return bot.bot_token if bot is not None else None

    async def forget(self, team: str, enterprise: str | None = None) -> None:
        """Removes a workspace that removed the app."""
        await self.async_delete_bot(enterprise_id=enterprise, team_id=team)


def _of(enterprise: str, team: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (_BOTS.c.enterprise_id == enterprise, _BOTS.c.team_id == team)


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
