"""Faults of connections and platforms: cut, silent, slow; refusals, lost responses, lost events."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from tests.chaos.fault_plan import FaultOrder
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
async def link(system: System, order: FaultOrder) -> AsyncIterator[None]:
    proxy = system.proxies[order.target]
    match order.kind:
        case "cut":
            proxy.reset()
            yield
        case "half-open":
            proxy.pause()
            try:
                yield
            finally:
                # What waits for a platform must not arrive after its sender has given up on it:
                # no platform could tell such a late twin from a second message.
                if order.twist or not order.target.endswith("-nats"):
                    proxy.reset()
                proxy.resume()
        case "slow":
            proxy.slow_s = SLOW_S * order.amount
            try:
                yield
            finally:
                proxy.slow_s = 0.0
        case _:
            proxy.lose(Way.UP if order.twist else Way.DOWN)
            try:
                yield
            finally:
                proxy.reset()  # what was lost cannot be made good within one connection
                await asyncio.sleep(0)
                proxy.lose()


@contextlib.asynccontextmanager
async def slack_call(system: System, order: FaultOrder) -> AsyncIterator[None]:
    kind = {"slack-limit": "limit", "slack-500": "status", "slack-hang": "hang"}.get(
        order.kind, "lost"
    )
    faults = system.slack.faults[order.target]
    faults.extend(SlackFault(kind) for _ in range(1 if kind == "hang" else order.amount))
    try:
        yield
    finally:
        faults.clear()


@contextlib.asynccontextmanager
async def slack_socket(system: System, order: FaultOrder) -> AsyncIterator[None]:
    sockets = system.slack.sockets
    live = sockets.live[:1]
    match order.target:
        case "cut" if live:
            sockets.cut()
        case "refresh" if live:
            await sockets.refresh()
        case "lose acks":
            sockets.lose_acks = order.amount
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
async def discord_call(system: System, order: FaultOrder) -> AsyncIterator[None]:
    method, path = DISCORD_ROUTES[order.target]
    before = tuple(system.discord.faults)
    match order.kind:
        case "discord-429":
            system.discord.fail(method, path, status=429, retry_after=0.5, times=order.amount)
        case "discord-500":
            system.discord.fail(method, path, status=500, times=order.amount)
        case kind:
            system.discord.fail(
                method, path, kind=kind.removeprefix("discord-"), times=order.amount
            )
    (mine,) = [fault for fault in system.discord.faults if fault not in before]
    try:
        yield
    finally:
        if mine in system.discord.faults:
            system.discord.faults.remove(mine)


@contextlib.asynccontextmanager
async def discord_gateway(system: System, order: FaultOrder) -> AsyncIterator[None]:
    gateway = system.discord.gateway
    match order.target:
        case "reconnect":
            await gateway.ask_reconnect()
        case "close":
            await gateway.close(4000)
        case "silent":
            gateway.silent = True  # until the client notices, which takes a minute
        case name:
            gateway.refuse_resumes = name == "invalidate"
            gateway.drop()
    try:
        yield
    finally:
        gateway.refuse_resumes = gateway.silent = False


@contextlib.asynccontextmanager
async def slack_refuses(system: System, order: FaultOrder) -> AsyncIterator[None]:
    method, argument = order.target.split()
    system.slack.refuses[method, argument] = "invalid_arguments"
    try:
        yield
    finally:
        del system.slack.refuses[method, argument]


@contextlib.asynccontextmanager
async def discord_refuses(system: System, order: FaultOrder) -> AsyncIterator[None]:
    refused = FieldRefused(order.target, 400, 50035, named=order.twist)
    system.discord.fields_refused.append(refused)
    try:
        yield
    finally:
        system.discord.fields_refused.remove(refused)
