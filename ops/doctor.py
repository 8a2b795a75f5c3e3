"""`threadwax doctor`: what is configured, what answers, and what to do about what does not.

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

from ops.doctor_model import model
from ops.finding import Check, Finding, Patient
from ops.folder_check import fault_of
from ops.settings import faults, settings_place, warnings
from shared import names, streams
from shared.bus import Bus
from shared.connection import Unavailable
from shared.nats_address import EMBEDDED, without_credentials
from shared.settings import Settings

NEEDED_BYTES: Final = 1 << 30
"""Below a gigabyte of free space a busy week of prompts can fill the disk."""

__all__ = ["CHECKS", "Check", "Finding", "Patient", "examine", "main", "model"]

CONNECT_WAIT_S: Final = 2.0
ANSWER_TIMEOUT_S: Final = 2.0

_COLOURS: Final = {"ok": "green", "warn": "yellow", "fail": "red"}
_MARK_WIDTH: Final = 5
_SUBJECT_WIDTH: Final = 12


def main(settings: Settings, platform: str | None) -> int:
    """Checks and prints; returns 1 if something essential fails."""
    checks = CHECKS if platform is None else PLATFORM_CHECKS.get(platform)
    if checks is None:
        known = ", ".join(sorted(PLATFORM_CHECKS)) or "none yet"
        click.echo(f"there are no checks for {platform!r}; there are some for: {known}", err=True)
        return 1
    findings = asyncio.run(examine(settings, checks))
    for finding in findings:
        mark = click.style(f"{finding.grade:<{_MARK_WIDTH}}", fg=_COLOURS[finding.grade])
        click.echo(f"{mark}{finding.subject:<{_SUBJECT_WIDTH}}{finding.what}")
        if finding.advice:
            click.echo(" " * (_MARK_WIDTH + _SUBJECT_WIDTH) + f"-> {finding.advice}")
    return int(any(finding.grade == "fail" for finding in findings))


async def examine(settings: Settings, checks: tuple[Check, ...]) -> list[Finding]:
    """The findings of these checks, in their order."""
    patient = Patient(settings)
    findings: list[Finding] = []
    try:
        for check in checks:
            findings += await check(patient)
    finally:
        if patient.bus is not None:
            await patient.bus.close()
    return findings


async def python(_: Patient) -> list[Finding]:
    """The interpreter."""
    version = sys.version.split()[0]
    if (3, 11) <= sys.version_info < (3, 13):
        return [Finding("ok", "python", version)]
    return [Finding("fail", "python", version, "use 3.11 or 3.12: bytewax has no other wheels")]


async def settings_read(_: Patient) -> list[Finding]:
    """Where the settings come from, and what in them has no effect or is wrong."""
    from bots.discord.settings import DiscordSettings  # noqa: PLC0415
    from bots.slack.settings import SlackSettings  # noqa: PLC0415

    wrong = _wrong(SlackSettings) + _wrong(DiscordSettings)
    ignored = [Finding("warn", "settings", line) for line in warnings()]
    return [*(wrong or [Finding("ok", "settings", settings_place())]), *ignored]


def _wrong(kind: type[BaseSettings]) -> list[Finding]:
    advice = "the adapter does not start before that is changed"
    return [Finding("fail", "settings", line, advice) for line in faults(kind)]


async def data_folder(patient: Patient) -> list[Finding]:
    """The data folder and the room on its disk."""
    home = patient.settings.home
    if fault := fault_of(home):
        what, _, advice = fault.rpartition(": ")
        return [Finding("fail", "data folder", what, advice)]
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    new = "" if home.exists() else "does not exist yet; the first start makes it; "
    text = f"{home} ({new}{free >> 20:,} MiB free)"
    if free < NEEDED_BYTES:
        return [Finding("warn", "data folder", text, "make room: a full disk stops new messages")]
    return [Finding("ok", "data folder", text)]


async def nats_server(patient: Patient) -> list[Finding]:
    """Whether NATS answers and takes our credentials; later checks use the connection."""
    url = patient.settings.bus_url()
    if url.startswith(EMBEDDED):
        advice = "start `threadwax up` or `threadwax nats`, or set NATS_URL to another server"
        return [Finding("fail", "nats", "no server runs on this data folder", advice)]
    shown = without_credentials(url)
    whose = "NATS_URL" if patient.settings.nats_url else "embedded"
    try:
        patient.bus = await Bus.connect(
            url,
            name="doctor",
            wait_s=CONNECT_WAIT_S,
            on_closed=lambda: None,
            needs=names.stream_info(names.PROMPTS),
        )
    except Unavailable as error:
        return [Finding("fail", "nats", f"{shown} ({whose}): not usable", str(error))]
    return [Finding("ok", "nats", f"{shown} ({whose}) answers")]


async def streams_there(patient: Patient) -> list[Finding]:
    """The streams and their partitions."""
    if patient.bus is None:
        return []
    set_up = "`threadwax nats --setup-only` creates what is missing"
    missing, nearly_full = [], []
    for config in streams.stream_configs(1):
        name = config.name or ""
        try:
            info = await patient.bus.js.stream_info(name)
        except nats.js.errors.NotFoundError:
            missing.append(name)
            continue
        except (nats.errors.Error, TimeoutError) as error:
            advice = "is JetStream on, and may this user speak to it ($JS.API.>)?"
            return [Finding("fail", "streams", f"JetStream does not answer: {error!r}", advice)]
        if streams.filled(info) >= streams.NEARLY_FULL:
            nearly_full.append(name)
        if name == names.PROMPTS:
            try:
                streams.same_partitions(info.config)
            except streams.OtherPartitions as error:
                return [Finding("fail", "streams", "other partitions", str(error))]
    if missing:
        return [Finding("fail", "streams", f"missing: {', '.join(missing)}", set_up)]
    if nearly_full:
        text, advice = f"nearly full: {', '.join(nearly_full)}", "see docs/deploy.md, Full streams"
        return [Finding("warn", "streams", text, advice)]
    return [Finding("ok", "streams", f"all there, {names.PARTITIONS} partitions")]


async def durability(patient: Patient) -> list[Finding]:
    """Whether an acknowledged message is on the disk."""
    if patient.bus is None:
        return []
    advice = "set `sync_interval: always` in its jetstream block, or a power cut loses messages"
    if patient.settings.nats_url:
        text = "not known: only the embedded server's settings can be read"
        return [Finding("warn", "durability", text, f"make sure that you {advice}")]
    try:
        monitor = patient.settings.embedded_nats_url_file.with_name("monitor").read_text().strip()
        always = await asyncio.to_thread(streams.sync_always, monitor)
    except (OSError, streams.NotMonitored) as error:
        return [Finding("warn", "durability", f"not known: {error}")]
    if always:
        return [Finding("ok", "durability", "what is acknowledged is on the disk")]
    return [Finding("fail", "durability", "acknowledged before it is on the disk", advice)]


async def dataflow(patient: Patient) -> list[Finding]:
    """Whether the dataflow reads the prompts."""
    if patient.bus is None:
        return []
    try:
        state = (await patient.bus.js.stream_info(names.PROMPTS)).state
    except (nats.errors.Error, TimeoutError):
        return []  # told by the check of the streams
    if state.consumer_count:
        return [Finding("ok", "dataflow", f"reads {state.consumer_count} partitions")]
    advice = "start `threadwax up` or `threadwax dataflow`; questions wait safely until then"
    return [Finding("fail", "dataflow", "nobody reads the prompts", advice)]


async def gateway(patient: Patient) -> list[Finding]:
    """Whether the gateway listens for plain requests."""
    if patient.bus is None:
        return []
    try:
        await patient.bus.client.request("$SRV.PING", timeout=ANSWER_TIMEOUT_S)
    except nats.errors.NoRespondersError:
        text = f"nobody listens on `{names.GATEWAY_SUBJECT}`"
        advice = "start `threadwax up` or `threadwax gateway`; the other adapters do not need it"
        return [Finding("warn", "gateway", text, advice)]
    except (nats.errors.Error, TimeoutError):
        return [Finding("warn", "gateway", "does not answer", "look at its log; start it again")]
    return [Finding("ok", "gateway", f"listens on `{names.GATEWAY_SUBJECT}`")]


CHECKS: Final[tuple[Check, ...]] = (
    python,
    settings_read,
    data_folder,
    nats_server,
    streams_there,
    durability,
    model,
    dataflow,
    gateway,
)


async def slack(_: Patient) -> list[Finding]:
    """Tokens, scopes and subscriptions of the Slack app."""
    from bots.slack.settings import SlackSettings  # noqa: PLC0415  (only where it is asked for)
    from ops.doctor_slack import slack_findings  # noqa: PLC0415

    return _wrong(SlackSettings) or await slack_findings()


async def discord(_: Patient) -> list[Finding]:
    """Token, intents and permissions of the Discord bot."""
    from bots.discord.settings import DiscordSettings  # noqa: PLC0415  (only where it is asked for)
    from ops.doctor_discord import discord_findings  # noqa: PLC0415

    return _wrong(DiscordSettings) or await discord_findings()


PLATFORM_CHECKS: Final[dict[str, tuple[Check, ...]]] = {
    "discord": (discord,),
    "slack": (slack,),
}
"""The checks of each platform, for `doctor <platform>`."""
