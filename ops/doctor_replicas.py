"""What `threadwax doctor` finds about the replicas of the streams in a NATS cluster.

Changes nothing: a lost server is for a person to replace.
"""

from typing import Final

import nats.errors
from nats.js import api

from ops.finding import CheckContext, Finding
from shared import streams

_SILENT_NS: Final = 5_000_000_000
"""A replica reports every second. The server itself calls one offline only after a minute or so."""

_SET_UP: Final = "run `threadwax nats --setup-only` with THREADWAX_NATS_REPLICAS={wanted}"
_SET_ONE: Final = (
    "if that server is lost, they are lost: set THREADWAX_NATS_REPLICAS=3 and run `threadwax nats "
    "--setup-only`"
)
_LEADERLESS: Final = (
    "more than half of the servers that keep it must run: start them (docs/deploy.md, Three NATS "
    "servers)"
)
_AWAY: Final = (
    "start it, or replace it (docs/deploy.md, Three NATS servers): if another one fails, questions "
    "wait until it is back"
)
_LAGS: Final = "if that does not end within minutes, read the log of that server"


async def replicas(context: CheckContext) -> list[Finding]:
    """Compares the replicas of each stream with the wanted number, and says which ones lag."""
    if context.bus is None:
        return []
    wanted = context.settings.nats_replicas
    infos: list[api.StreamInfo] = []
    for config in streams.stream_configs(1):
        try:
            infos.append(await context.bus.js.stream_info(config.name or ""))
        except (nats.errors.Error, TimeoutError):
            return []  # the check of the streams reports it
    if not context.bus.client.is_clustered:
        if wanted == 1 or not context.settings.nats_url:  # the embedded server says so at its start
            return []
        text = f"{wanted} wanted, but the server is not in a cluster"
        return [Finding("warn", "replicas", text, "see docs/deploy.md, Three NATS servers")]
    findings = [finding for info in infos for finding in findings_about(info, wanted)]
    least = min(info.config.num_replicas or 1 for info in infos)
    if not findings and least == 1:
        text = "some or all messages are kept on only one server of the cluster"
        findings.append(Finding("warn", "replicas", text, _SET_ONE))
    return findings or [Finding("ok", "replicas", f"{least} of each stream, all up to date")]


def findings_about(info: api.StreamInfo, wanted: int) -> list[Finding]:
    """What is wrong with the replicas of one stream; `wanted` is how many there should be."""
    name = info.config.name or ""
    live = info.config.num_replicas or 1
    cluster = info.cluster or api.ClusterInfo()
    findings: list[Finding] = []
    if live < wanted:
        text = f"{name}: {live} of {wanted}"
        findings.append(Finding("warn", "replicas", text, _SET_UP.format(wanted=wanted)))
    if not cluster.leader:
        findings.append(Finding("fail", "replicas", f"{name}: no leader", _LEADERLESS))
    for peer in cluster.replicas or ():
        # 0 is a replica that the present leader has never heard of.
        is_silent = (peer.active or 0) >= _SILENT_NS or not (peer.active or peer.current)
        if peer.offline or is_silent:
            text = f"{name}: {peer.name} does not answer"
            findings.append(Finding("warn", "replicas", text, _AWAY))
        elif not peer.current:
            behind = f"{peer.lag:,} operations behind" if peer.lag else "catching up"
            findings.append(Finding("warn", "replicas", f"{name}: {peer.name} is {behind}", _LAGS))
    return findings
