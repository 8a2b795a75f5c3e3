"""`threadwax doctor`: checks the settings and every server, and says how to fix what fails.

Changes nothing, and never prints a key, a password or a token.
"""

import asyncio
import shutil
import sys
from typing import Final

import click
import nats.errors
import nats.js.errors
from pydantic_settings import BaseSettings

from ops.doctor_budgets import budgets
from ops.doctor_database import database
from ops.doctor_gateway import gateway
from ops.doctor_lease import lease_of_discord
from ops.doctor_model import model
from ops.doctor_replicas import replicas
from ops.finding import Check, CheckContext, Finding
from ops.folder_check import fault_of
from ops.settings import faults, settings_place, warnings
from shared import names, partitioning, streams
from shared.bus import Bus
from shared.connection import Unavailable
from shared.nats_address import EMBEDDED, without_credentials
from shared.settings import Settings
from shared.traces.settings import TraceSettings

NEEDED_BYTES: Final = 1 << 30
"""With less free space, the prompts of a busy week can fill the disk."""

CONNECT_WAIT_S: Final = 2.0

_COLOURS: Final = {"ok": "green", "warn": "yellow", "fail": "red"}
_MARK_WIDTH: Final = 5
_SUBJECT_WIDTH: Final = 12


def main(settings: Settings, platform: str | None) -> int:
    """Runs and prints the checks; returns 1 if one of them fails."""
    checks = CHECKS if platform is None else PLATFORM_CHECKS.get(platform)
    if checks is None:
        known = ", ".join(sorted(PLATFORM_CHECKS)) or "none yet"
        click.echo(f"there are no checks for {platform!r}; available: {known}", err=True)
        return 1
    findings = asyncio.run(examine(settings, checks))
    for finding in findings:
        mark = click.style(f"{finding.grade:<{_MARK_WIDTH}}", fg=_COLOURS[finding.grade])
        click.echo(f"{mark}{finding.subject:<{_SUBJECT_WIDTH}}{finding.what}")
        if finding.advice:
            click.echo(" " * (_MARK_WIDTH + _SUBJECT_WIDTH) + f"-> {finding.advice}")
    return int(any(finding.grade == "fail" for finding in findings))


async def examine(settings: Settings, checks: tuple[Check, ...]) -> list[Finding]:
    """Returns the findings of these checks, in order."""
    context = CheckContext(settings)
    findings: list[Finding] = []
    try:
        for check in checks:
            findings += await check(context)
    finally:
        if context.bus is not None:
            await context.bus.close()
    return findings


async def python(_: CheckContext) -> list[Finding]:
    """Checks the Python version."""
    version = sys.version.split()[0]
    if (3, 11) <= sys.version_info < (3, 13):
        return [Finding("ok", "python", version)]
    return [
        Finding(
            "fail", "python", version, "use Python 3.11 or 3.12: bytewax has no wheels for others"
        )
    ]


async def settings_read(_: CheckContext) -> list[Finding]:
    """Says where the settings come from, and checks the adapters' settings."""
    from bots.discord.settings import DiscordSettings
    from bots.slack.settings import SlackSettings
    from bots.web.settings import WebSettings

    kinds = (SlackSettings, DiscordSettings, WebSettings, TraceSettings)
    wrong = [finding for kind in kinds for finding in _wrong(kind)]
    ignored = [Finding("warn", "settings", line) for line in warnings()]
    return [*(wrong or [Finding("ok", "settings", settings_place())]), *ignored]


def _wrong(kind: type[BaseSettings]) -> list[Finding]:
    advice = "its process does not start until this is fixed"
    return [Finding("fail", "settings", line, advice) for line in faults(kind)]


async def data_folder(context: CheckContext) -> list[Finding]:
    """Checks that the data folder is usable, and the free space on its disk."""
    home = context.settings.home
    if fault := fault_of(home):
        what, _, advice = fault.rpartition(": ")
        return [Finding("fail", "data folder", what, advice)]
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    new = "" if home.exists() else "does not exist yet; the first start creates it; "
    text = f"{home} ({new}{free >> 20:,} MiB free)"
    if free < NEEDED_BYTES:
        return [
            Finding(
                "warn",
                "data folder",
                text,
                "free some space: with a full disk, new messages are refused",
            )
        ]
    return [Finding("ok", "data folder", text)]


async def nats_server(context: CheckContext) -> list[Finding]:
    """Checks that NATS accepts our credentials; later checks use the connection."""
    url = context.settings.bus_url()
    if url.startswith(EMBEDDED):
        advice = "start `threadwax up` or `threadwax nats`, or set NATS_URL to another server"
        return [Finding("fail", "nats", "no server runs on this data folder", advice)]
    shown = without_credentials(url)
    whose = "NATS_URL" if context.settings.nats_url else "embedded"
    try:
        context.bus = await Bus.connect(
            url,
            name="doctor",
            wait_s=CONNECT_WAIT_S,
            on_closed=lambda: None,
            needs=names.stream_info(names.PROMPTS),
        )
    except Unavailable as error:
        return [Finding("fail", "nats", f"{shown} ({whose}): not usable", str(error))]
    return [Finding("ok", "nats", f"{shown} ({whose}) answers")]


async def streams_there(context: CheckContext) -> list[Finding]:
    """Checks that the streams exist, with the right partitions and enough room."""
    if context.bus is None:
        return []
    set_up = "`threadwax nats --setup-only` creates what is missing"
    missing, nearly_full = [], []
    for config in streams.stream_configs(1):
        name = config.name or ""
        try:
            info = await context.bus.js.stream_info(name)
        except nats.js.errors.NotFoundError:
            missing.append(name)
            continue
        except (nats.errors.Error, TimeoutError) as error:
            advice = "enable JetStream, and allow this user to publish $JS.API.>"
            return [Finding("fail", "streams", f"JetStream does not answer: {error!r}", advice)]
        if streams.filled(info) >= streams.NEARLY_FULL:
            nearly_full.append(name)
        if name == names.PROMPTS:
            try:
                partitions = partitioning.same_partitions(info.config, context.settings.partitions)
            except partitioning.OtherPartitions as error:
                return [Finding("fail", "streams", "other partitions", str(error))]
    if missing:
        return [Finding("fail", "streams", f"missing: {', '.join(missing)}", set_up)]
    if nearly_full:
        text, advice = f"nearly full: {', '.join(nearly_full)}", "see docs/deploy.md, Full streams"
        return [Finding("warn", "streams", text, advice)]
    return [Finding("ok", "streams", f"all exist, with {partitions} partitions")]


async def durability(context: CheckContext) -> list[Finding]:
    """Checks that the server syncs messages before it acknowledges them."""
    if context.bus is None:
        return []
    advice = "set `sync_interval: always` in its jetstream block, or a power cut loses messages"
    if context.settings.nats_url:
        text = "unknown: only the embedded server's settings can be read"
        return [Finding("warn", "durability", text, f"check the server's configuration: {advice}")]
    try:
        monitor = context.settings.embedded_nats_url_file.with_name("monitor").read_text().strip()
        always = await asyncio.to_thread(streams.sync_always, monitor)
    except (OSError, streams.NotMonitored) as error:
        return [Finding("warn", "durability", f"unknown: {error}")]
    if always:
        return [
            Finding("ok", "durability", "messages are on the disk before they are acknowledged")
        ]
    return [
        Finding(
            "fail", "durability", "messages are acknowledged before they are on the disk", advice
        )
    ]


async def dataflow(context: CheckContext) -> list[Finding]:
    """Checks that every partition is served, and that nothing waits for long."""
    from ops.doctor_dataflow import dataflow as check

    return await check(context)


async def unread(context: CheckContext) -> list[Finding]:
    """Counts the dead letters, which wait for a person's decision."""
    if context.bus is None:
        return []
    try:
        count = (await context.bus.js.stream_info(names.DLQ)).state.messages
    except (nats.errors.Error, TimeoutError):
        return []  # the check of the streams reports it
    if not count:
        return [Finding("ok", "unread", "no dead letters")]
    text = "1 dead letter waits" if count == 1 else f"{count:,} dead letters wait"
    return [Finding("warn", "unread", text, "`threadwax dlq list` shows why; docs/runbook.md")]


async def running_page(context: CheckContext) -> list[Finding]:
    """Checks the web page, unless its settings are wrong, which is reported with the settings."""
    from bots.web.settings import WebSettings
    from ops.doctor_web import web_findings

    return [] if faults(WebSettings) else await web_findings(context.settings, WebSettings())


CHECKS: Final[tuple[Check, ...]] = (
    python,
    settings_read,
    data_folder,
    nats_server,
    streams_there,
    replicas,
    durability,
    model,
    budgets,
    dataflow,
    unread,
    database,
    gateway,
    running_page,
)


async def slack(_: CheckContext) -> list[Finding]:
    """Checks tokens, scopes and subscriptions of the Slack app."""
    from bots.slack.settings import SlackSettings
    from ops.doctor_slack import slack_findings

    return _wrong(SlackSettings) or await slack_findings()


async def discord(_: CheckContext) -> list[Finding]:
    """Checks token, intents and permissions of the Discord bot."""
    from bots.discord.settings import DiscordSettings
    from ops.doctor_discord import discord_findings

    return _wrong(DiscordSettings) or await discord_findings()


async def web(context: CheckContext) -> list[Finding]:
    """Checks the web page, and the provider that people sign in with."""
    from bots.web.settings import WebSettings

    return _wrong(WebSettings) or await running_page(context)


PLATFORM_CHECKS: Final[dict[str, tuple[Check, ...]]] = {
    "discord": (discord, lease_of_discord),
    "slack": (slack,),
    "web": (web,),
}
"""The checks of `doctor <platform>`."""
