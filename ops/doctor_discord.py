"""`threadwax doctor discord`: checks token, intents and the permissions on each server.

Changes nothing on Discord, and never prints the token. Opens no gateway session, because the number
of sessions per day is limited.
"""

from http import HTTPStatus
from typing import Any, Final

import aiohttp

from bots.discord.settings import API_URL, DiscordSettings
from ops.finding import Finding

PERMISSIONS: Final = {
    "View Channels": 1 << 10,
    "Send Messages": 1 << 11,
    "Send Messages in Threads": 1 << 38,
    "Create Public Threads": 1 << 35,
    "Read Message History": 1 << 16,
    "Embed Links": 1 << 14,
    "Attach Files": 1 << 15,
    "Add Reactions": 1 << 6,
}
"""The permissions that the bot needs. Never add Mention Everyone or Administrator."""

ADMINISTRATOR: Final = 1 << 3
CONTENT_APPROVED: Final = 1 << 18
CONTENT_LIMITED: Final = 1 << 19
"""Application flags of the message content intent: approved by Discord, or enabled without approval
because the application has fewer than 10,000 users."""

TIMEOUT_S: Final = 10.0
FEW_SESSIONS: Final = 100
PORTAL: Final = "https://discord.com/developers/applications"


def invite_url(application_id: str) -> str:
    """Returns the address at which an administrator adds the bot to a server."""
    return (
        f"https://discord.com/oauth2/authorize?client_id={application_id}"
        f"&scope=bot+applications.commands&permissions={sum(PERMISSIONS.values())}"
    )


async def discord_findings(settings: DiscordSettings | None = None) -> list[Finding]:
    """Checks the Discord application of these settings."""
    settings = settings or DiscordSettings()
    if settings.token is None:
        advice = f"set DISCORD_TOKEN from {PORTAL}, Bot, Reset Token; docs/discord.md"
        return [Finding("fail", "token", "DISCORD_TOKEN is not set", advice)]
    headers = {"Authorization": f"Bot {settings.token.get_secret_value().strip()}"}
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    base = (settings.api_url or API_URL).rstrip("/")
    try:
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            return await _examined(session, base, settings)
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
        advice = "check the internet connection, and DISCORD_API_URL if it is set"
        return [Finding("fail", "discord", f"does not answer: {type(error).__name__}", advice)]


async def _examined(
    session: aiohttp.ClientSession, base: str, settings: DiscordSettings
) -> list[Finding]:
    status, me = await _get(session, f"{base}/users/@me")
    if status == HTTPStatus.UNAUTHORIZED:
        advice = f"it was reset or mistyped: create a new one at {PORTAL}, Bot, Reset Token"
        return [Finding("fail", "token", "Discord refuses DISCORD_TOKEN", advice)]
    findings = [Finding("ok", "token", f"speaks as {me['username']}")]
    _, application = await _get(session, f"{base}/oauth2/applications/@me")
    findings.append(_intents(application, settings))
    _, gateway = await _get(session, f"{base}/gateway/bot")
    findings.append(_sessions(gateway["session_start_limit"]["remaining"], gateway["shards"]))
    _, guilds = await _get(session, f"{base}/users/@me/guilds")
    findings += _guilds(guilds)
    invitation = f"open this address and choose a server: {invite_url(application['id'])}"
    findings.append(Finding("ok", "invite", invitation))
    return findings


async def _get(session: aiohttp.ClientSession, url: str) -> tuple[int, Any]:
    async with session.get(url) as response:
        return response.status, await response.json()


def _intents(application: dict[str, Any], settings: DiscordSettings) -> Finding:
    flags = application.get("flags", 0)
    if not settings.message_content:
        text = "without message content: in threads, people have to mention the bot"
        return Finding("ok", "intents", text)
    if flags & CONTENT_APPROVED:
        return Finding("ok", "intents", "message content is enabled, and approved by Discord")
    if flags & CONTENT_LIMITED:
        text = "message content is enabled; with 10,000 users or more, Discord has to approve it"
        return Finding("ok", "intents", text)
    advice = (
        f"enable Message Content Intent at {PORTAL}, Bot, or set DISCORD_MESSAGE_CONTENT=false: "
        "without it, the bot does not see follow-ups that do not mention it"
    )
    return Finding("fail", "intents", "the message content intent is not enabled", advice)


def _sessions(remaining: int, shards: int) -> Finding:
    text = f"{remaining} new sessions left today, {shards} shard(s)"
    if remaining < FEW_SESSIONS:
        return Finding("warn", "gateway", text, "the adapter restarts too often: read its log")
    return Finding("ok", "gateway", text)


def _guilds(guilds: list[dict[str, Any]]) -> list[Finding]:
    if not guilds:
        return [
            Finding(
                "warn",
                "servers",
                "the bot is not on any server",
                "open the invite address below and choose a server",
            )
        ]
    findings = []
    for guild in guilds:
        granted = int(guild["permissions"])
        missing = [name for name, bit in PERMISSIONS.items() if not granted & bit]
        if granted & ADMINISTRATOR:
            advice = "it needs far fewer permissions: invite it again with the address below"
            findings.append(Finding("warn", "server", f"{guild['name']}: administrator", advice))
        elif missing:
            advice = "grant them to the bot's role, or invite it again with the address below"
            what = f"{guild['name']}: missing {', '.join(missing)}"
            findings.append(Finding("fail", "server", what, advice))
        else:
            findings.append(Finding("ok", "server", f"{guild['name']}: all permissions"))
    return findings
