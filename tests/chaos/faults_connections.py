"""Faults of connections (cut, silent, slow) and platforms (refusals, lost responses and events)."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from tests.chaos.fault_plan import PlannedFault
from tests.chaos.system import System
from tests.fakes.discord_rules import FieldRefused
from tests.fakes.slack import Fault as SlackFault
from tests.fakes.tcp_proxy import Way

SLOW_S: Final = 0.05

DISCORD_ROUTES: Final = {
    "POST message": ("POST", r"/channels/\d+/messages$"),
    "PATCH message": ("PATCH", r"/messages/[^/]+$"),
    "POST thread": ("POST", r"/threads$"),
    "GET messages": ("GET", r"/messages$"),
    "callback": ("POST", r"/callback$"),
}


@contextlib.asynccontextmanager
async def link(system: System, planned: PlannedFault) -> AsyncIterator[None]:
    proxy = system.proxies[planned.target]
    match planned.kind:
        case "cut":
            proxy.reset()
            yield
        case "half-open":
            proxy.pause()
            try:
                yield
            finally:
                # A request held up here must not reach the platform after its sender gave up: the
                # platform could not tell such a late copy from a second message.
                if planned.twist or not planned.target.endswith("-nats"):
                    proxy.reset()
                proxy.resume()
        case "slow":
            proxy.slow_s = SLOW_S * planned.amount
            try:
                yield
            finally:
                proxy.slow_s = 0.0
        case _:
            proxy.lose(Way.UP if planned.twist else Way.DOWN)
            try:
                yield
            finally:
                proxy.reset()  # lost bytes make the connection useless
                await asyncio.sleep(0)
                proxy.lose()


@contextlib.asynccontextmanager
async def slack_call(system: System, planned: PlannedFault) -> AsyncIterator[None]:
    kind = {"slack-limit": "limit", "slack-500": "status", "slack-hang": "hang"}.get(
        planned.kind, "lost"
    )
    faults = system.slack.faults[planned.target]
    faults.extend(SlackFault(kind) for _ in range(1 if kind == "hang" else planned.amount))
    try:
        yield
    finally:
        faults.clear()


@contextlib.asynccontextmanager
async def slack_socket(system: System, planned: PlannedFault) -> AsyncIterator[None]:
    sockets = system.slack.sockets
    live = sockets.live[:1]
    match planned.target:
        case "cut" if live:
            sockets.cut()
        case "refresh" if live:
            await sockets.refresh()
        case "lose acks":
            sockets.lose_acks = planned.amount
        case name:
            for sock in live:
                sock.deaf, sock.mute = name == "deaf", name == "mute"
    try:
        yield
    finally:
        sockets.lose_acks = 0
        for sock in live:
            sock.deaf = sock.mute = False


@contextlib.asynccontextmanager
async def discord_call(system: System, planned: PlannedFault) -> AsyncIterator[None]:
    method, path = DISCORD_ROUTES[planned.target]
    before = tuple(system.discord.faults)
    match planned.kind:
        case "discord-429":
            system.discord.fail(method, path, status=429, retry_after=0.5, times=planned.amount)
        case "discord-500":
            system.discord.fail(method, path, status=500, times=planned.amount)
        case kind:
            system.discord.fail(
                method, path, kind=kind.removeprefix("discord-"), times=planned.amount
            )
    (mine,) = [fault for fault in system.discord.faults if fault not in before]
    try:
        yield
    finally:
        if mine in system.discord.faults:
            system.discord.faults.remove(mine)


@contextlib.asynccontextmanager
async def discord_gateway(system: System, planned: PlannedFault) -> AsyncIterator[None]:
    gateway = system.discord.gateway
    match planned.target:
        case "reconnect":
            await gateway.ask_reconnect()
        case "close":
            await gateway.close(4000)
        case "silent":
            gateway.silent = True  # the client notices after a minute
        case name:
            gateway.refuse_resumes = name == "invalidate"
            gateway.drop()
    try:
        yield
    finally:
        gateway.refuse_resumes = gateway.silent = False


@contextlib.asynccontextmanager
async def slack_refuses(system: System, planned: PlannedFault) -> AsyncIterator[None]:
    method, argument = planned.target.split()
    system.slack.refuses[method, argument] = "invalid_arguments"
    try:
        yield
    finally:
        del system.slack.refuses[method, argument]


@contextlib.asynccontextmanager
async def discord_refuses(system: System, planned: PlannedFault) -> AsyncIterator[None]:
    refused = FieldRefused(planned.target, 400, 50035, named=planned.twist)
    system.discord.fields_refused.append(refused)
    try:
        yield
    finally:
        system.discord.fields_refused.remove(refused)
