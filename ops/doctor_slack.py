"""`threadwax doctor slack`: checks tokens, scopes and subscriptions of the Slack app.

Changes nothing in Slack, and never prints a token.
"""

from collections.abc import Mapping
from typing import Any, Final

from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bots.slack.api import client_of, new_session
from bots.slack.errors import CALL_ERRORS, code_of
from bots.slack.manifest import COMMANDS, EVENTS, SCOPES
from bots.slack.settings import SlackSettings
from bots.slack.tokens import misplaced
from ops.finding import Finding

_TOKENS: Final = (
    "Basic Information and OAuth & Permissions of your app (https://api.slack.com/apps)"
)
_MANIFEST: Final = "paste manifest.json under App Manifest, then reinstall the app"


async def slack_findings(settings: SlackSettings | None = None) -> list[Finding]:
    """Checks the Slack app of these settings."""
    settings = settings or SlackSettings()
    if wrong := misplaced(settings):
        # Every call would fail for this reason.
        halves = (what.split(": ") for what in wrong)
        return [Finding("fail", "tokens", what, f"{advice}; {_TOKENS}") for what, advice in halves]
    session = new_session()
    try:
        token = settings.bot_token
        client = client_of(token.get_secret_value() if token else None, settings.api_url, session)
        who, found = await _bot(settings, client)
        found += await _connection(settings, client)
        found += await _subscriptions(settings, client, who)
        by_reason: dict[str, Finding] = {}
        for finding in found:
            by_reason.setdefault(finding.what, finding)  # report each cause once
        return list(by_reason.values())
    finally:
        await session.close()


async def _bot(
    settings: SlackSettings, client: AsyncWebClient
) -> tuple[AsyncSlackResponse | None, list[Finding]]:
    """Returns Slack's description of the bot, if there is one, and the findings about its token."""
    if settings.bot_token is None:
        if settings.with_oauth:
            text = "each workspace has its own (/slack/install)"
            return None, [Finding("ok", "bot token", text)]
        advice = f"set SLACK_BOT_TOKEN (xoxb-...) from {_TOKENS}"
        return None, [Finding("fail", "bot token", "SLACK_BOT_TOKEN is not set", advice)]
    try:
        who = await client.auth_test()
    except CALL_ERRORS as error:
        return None, [_refused("bot token", "SLACK_BOT_TOKEN", error, settings.api_url)]
    name = f"{who.get('user')} in {who.get('team')}"
    return who, [Finding("ok", "bot token", f"speaks as {name}"), *_scopes(who, settings.api_url)]


def _scopes(response: AsyncSlackResponse, url: str) -> list[Finding]:
    headers = {k.lower(): v for k, v in response.headers.items()}
    if "x-oauth-scopes" not in headers:
        # Proxies can drop the header, and emulators do not send it.
        what = f"unknown: {url} does not say which are granted"
        return [Finding("warn", "scopes", what, "compare them with manifest.json")]
    granted = {scope.strip() for scope in str(headers["x-oauth-scopes"]).split(",")}
    missing = [scope for scope in SCOPES if scope not in granted]
    if not missing:
        return [Finding("ok", "scopes", f"all {len(SCOPES)} are granted")]
    return [
        Finding("fail", "scopes", f"missing: {scope}", f"add it to the bot's scopes; {_MANIFEST}")
        for scope in missing
    ]


async def _connection(settings: SlackSettings, client: AsyncWebClient) -> list[Finding]:
    if settings.over_http:
        text = f"HTTP on {settings.host}:{settings.port}, signed"
        advice = "make it reachable over https, and set the app's request URLs to it"
        return [Finding("ok", "connection", text, advice)]
    if settings.app_token is None:
        advice = f"set SLACK_APP_TOKEN (xapp-..., scope connections:write) from {_TOKENS}"
        return [
            Finding(
                "fail",
                "connection",
                "neither SLACK_APP_TOKEN nor SLACK_SIGNING_SECRET is set",
                advice,
            )
        ]
    try:
        await client.apps_connections_open(app_token=settings.app_token.get_secret_value())
    except CALL_ERRORS as error:
        return [_refused("app token", "SLACK_APP_TOKEN", error, settings.api_url)]
    return [Finding("ok", "app token", "Socket Mode opens a connection")]


async def _subscriptions(
    settings: SlackSettings, client: AsyncWebClient, who: AsyncSlackResponse | None
) -> list[Finding]:
    """Checks the subscriptions, which only a configuration token can read."""
    if settings.config_token is None:
        advice = (
            "if the bot does not receive messages, compare Event Subscriptions of your app with "
            "manifest.json, or set SLACK_CONFIG_TOKEN to check them here"
        )
        return [Finding("ok", "events", "not checked: a bot token cannot read them", advice)]
    if who is None:
        return []  # the bot's token fails, which is reported already
    try:
        bot = await client.bots_info(bot=str(who.get("bot_id")))
        exported = await client.apps_manifest_export(
            app_id=str((bot.get("bot") or {}).get("app_id")),
            token=settings.config_token.get_secret_value(),
        )
    except CALL_ERRORS as error:
        return [_refused("events", "SLACK_CONFIG_TOKEN", error, settings.api_url)]
    return manifest_findings(exported.get("manifest") or {}, socket=settings.app_token is not None)


def manifest_findings(manifest: Mapping[str, Any], *, socket: bool) -> list[Finding]:
    """Compares an app's manifest with ours."""
    of_app = manifest.get("settings") or {}
    features = manifest.get("features") or {}
    events = set((of_app.get("event_subscriptions") or {}).get("bot_events") or ())
    commands = {command.get("command") for command in features.get("slash_commands") or ()}
    found = [
        Finding("fail", "events", f"not subscribed: {event}", _MANIFEST)
        for event in EVENTS
        if event not in events
    ]
    found += [
        Finding("warn", "commands", f"missing: {command}", _MANIFEST)
        for command in COMMANDS
        if command not in commands
    ]
    if not (of_app.get("interactivity") or {}).get("is_enabled"):
        found.append(Finding("fail", "buttons", "interactivity is off", _MANIFEST))
    if socket and not of_app.get("socket_mode_enabled"):
        found.append(Finding("fail", "connection", "Socket Mode is off", _MANIFEST))
    if not features.get("agent_view"):
        found.append(Finding("warn", "agent", "the app is not declared as an agent", _MANIFEST))
    return found or [Finding("ok", "events", f"all {len(EVENTS)} are subscribed")]


def _refused(subject: str, name: str, error: BaseException, url: str) -> Finding:
    if code := code_of(error):
        return Finding("fail", subject, f"Slack refuses {name}: {code}", f"copy it from {_TOKENS}")
    return Finding(
        "fail",
        subject,
        f"{url} does not answer: {type(error).__name__}",
        "check the network connection",
    )
