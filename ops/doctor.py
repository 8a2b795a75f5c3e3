"""`threadwax doctor`: what is configured, what answers, and what to do about what does not.

Changes nothing, and never prints a key, a password or a token.
"""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Literal

import aiohttp
import click
import nats.errors
import nats.js.errors

from shared import names, streams
from shared.bus import Bus
from shared.connection import Unavailable, without_credentials
from shared.settings import Settings

OPENAI_URL: Final = "https://api.openai.com/v1"
NEEDED_BYTES: Final = 1 << 30
"""Below a gigabyte of free space a busy week of prompts can fill the disk."""

CONNECT_WAIT_S: Final = 2.0
ANSWER_TIMEOUT_S: Final = 2.0
MODEL_TIMEOUT_S: Final = 10.0

Grade = Literal["ok", "warn", "fail"]
_COLOURS: Final = {"ok": "green", "warn": "yellow", "fail": "red"}
_MARK_WIDTH: Final = 5
_SUBJECT_WIDTH: Final = 12


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `fail` means that people get no answers; `advice` is what to do."""

    grade: Grade
    subject: str
    what: str
    advice: str = ""


@dataclass(slots=True)
class Patient:
    """What the checks look at: the settings, and the bus once it was reached."""

    settings: Settings
    bus: Bus | None = field(default=None)


Check = Callable[[Patient], Awaitable[list[Finding]]]


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


async def data_folder(patient: Patient) -> list[Finding]:
    """The data folder and the room on its disk."""
    home = patient.settings.home
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    if not os.access(existing, os.W_OK):
        advice = "make it writable, or set THREADWAX_HOME to a folder of yours"
        return [Finding("fail", "data folder", f"{home} cannot be written", advice)]
    free = shutil.disk_usage(existing).free
    text = f"{home} ({free >> 20:,} MiB free)"
    if free < NEEDED_BYTES:
        return [Finding("warn", "data folder", text, "make room: a full disk stops new messages")]
    return [Finding("ok", "data folder", text)]


async def nats_server(patient: Patient) -> list[Finding]:
    """Whether NATS answers and takes our credentials; later checks use the connection."""
    url = patient.settings.bus_url()
    shown = without_credentials(url)
    whose = "NATS_URL" if patient.settings.nats_url else "embedded"
    try:
        patient.bus = await Bus.connect(
            url, name="doctor", wait_s=CONNECT_WAIT_S, on_closed=lambda: None
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
        text = "not known: the server's monitoring is not ours to ask"
        return [Finding("warn", "durability", text, f"make sure that you {advice}")]
    try:
        monitor = patient.settings.embedded_nats_url_file.with_name("monitor").read_text().strip()
        always = await asyncio.to_thread(streams.sync_always, monitor)
    except (OSError, streams.NotMonitored) as error:
        return [Finding("warn", "durability", f"not known: {error}")]
    if always:
        return [Finding("ok", "durability", "what is acknowledged is on the disk")]
    return [Finding("fail", "durability", "acknowledged before it is on the disk", advice)]


async def model(patient: Patient) -> list[Finding]:
    """Whether the model's endpoint answers and takes the key."""
    settings = patient.settings
    if settings.demo_model:
        try:
            endpoint = json.loads(settings.embedded_model_file.read_text())
        except (OSError, ValueError):
            advice = (
                "start `threadwax up` or `threadwax model`; for a real model set OPENAI_API_KEY, "
                "or OPENAI_BASE_URL and THREADWAX_MODEL"
            )
            return [Finding("fail", "model", "the demo model does not run", advice)]
        finding = await _endpoint(endpoint["base_url"], endpoint["api_key"])
        if finding.grade != "ok":
            return [finding]
        advice = "for a real one set OPENAI_API_KEY, or OPENAI_BASE_URL and THREADWAX_MODEL"
        return [Finding("warn", "model", "the demo model answers: small, often wrong", advice)]
    key = settings.openai_api_key
    return [
        await _endpoint(
            settings.openai_base_url or OPENAI_URL,
            key.get_secret_value() if key else "",
            settings.model,
        )
    ]


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
    from ops.doctor_slack import slack_findings  # noqa: PLC0415  (only where it is asked for)

    return await slack_findings()


async def discord(_: Patient) -> list[Finding]:
    """Token, intents and permissions of the Discord bot."""
    from ops.doctor_discord import discord_findings  # noqa: PLC0415  (only where it is asked for)

    return await discord_findings()


PLATFORM_CHECKS: Final[dict[str, tuple[Check, ...]]] = {
    "discord": (discord,),
    "slack": (slack,),
}
"""The checks of each platform, for `doctor <platform>`."""


async def _endpoint(base_url: str, key: str, name: str | None = None) -> Finding:
    url = f"{base_url.rstrip('/')}/models"
    shown = without_credentials(base_url)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    timeout = aiohttp.ClientTimeout(total=MODEL_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, headers=headers) as response,
        ):
            status, body = response.status, await response.text()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        advice = "is it running, and is OPENAI_BASE_URL right (most end in /v1)?"
        return Finding("fail", "model", f"{shown}: {type(error).__name__}", advice)
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        advice = "OPENAI_API_KEY is wrong, expired, or not for this endpoint"
        return Finding("fail", "model", f"{shown} refuses the key ({status})", advice)
    if status == HTTPStatus.NOT_FOUND:
        advice = "OPENAI_BASE_URL is not an OpenAI-compatible endpoint; most end in /v1"
        return Finding("fail", "model", f"{shown} has no list of models (404)", advice)
    if status >= HTTPStatus.BAD_REQUEST:
        return Finding("warn", "model", f"{shown} answers {status}", "try again later")
    if name and name not in (known := _model_names(body)) and known:
        advice = f"set THREADWAX_MODEL to one of: {', '.join(sorted(known)[:10])}"
        return Finding("fail", "model", f"{shown} has no model {name!r}", advice)
    return Finding("ok", "model", f"{shown} answers{f' and has {name}' if name else ''}")


def _model_names(body: str) -> set[str]:
    try:
        return {str(entry["id"]) for entry in json.loads(body)["data"]}
    except (ValueError, KeyError, TypeError):
        return set()
