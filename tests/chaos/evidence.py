"""Collects a `World` from the streams and from what people see."""

import contextlib
import functools
import re
import sqlite3
from pathlib import Path
from typing import Final

import aiohttp
from nats.js.errors import NotFoundError

from shared import names
from shared.event_parsing import event_of
from shared.messages import Address, AnyEvent, Place
from shared.replies import Reply as StoredReply
from shared.streams import ADAPTERS
from tests.chaos.discord_users import DiscordUsers, is_waiting
from tests.chaos.said import Said, Spot
from tests.chaos.system import System
from tests.chaos.web_users import WebUsers
from tests.chaos.world import Event, Recorded, Reply, World
from tests.fakes.slack_rules import rendered

LISTENING: Final = "0A"
COUNTED: Final = re.compile(r"^(threadwax_\w+_total)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


class Evidence:
    """The world of one campaign. `read` updates it."""

    def __init__(
        self, system: System, said: dict[int, Said], discord: DiscordUsers, web: WebUsers
    ) -> None:
        self.world = World(said=said)
        self._system = system
        self._discord = discord
        self._web = web
        self._read_up_to = {names.PROMPTS: 0, names.REPLIES: 0, names.DLQ: 0}
        self._counters: dict[tuple[int, str], float] = {}

    async def read(self) -> World:
        """Returns the current world. Waits for the server."""
        world, system = self.world, self._system
        for sequence, subject, data in await self._new(names.PROMPTS):
            world.events.append(_event(sequence, event_of(data, names.user_of_stored(subject))))
        for sequence, _, data in await self._new(names.REPLIES):
            reply = StoredReply.model_validate_json(data)
            world.replies.append(
                Reply(sequence, reply.prompt_id, reply.user, reply.outcome, reply.text,
                      reply.prompt_text, reply.after)
            )  # fmt: skip
        for _, subject, data in await self._new(names.DLQ):
            world.dead_letters.append(f"{subject}: {data[:300]!r}")
        for name in ADAPTERS:
            ask = functools.partial(system.bus.js.consumer_info, names.REPLIES, name)
            info = await system.bus.until_done(ask)
            world.unread[name] = (info.num_pending or 0) + (info.num_ack_pending or 0)
        world.answers = system.model.answers
        self._discord.mark_accepted_commands()
        await self._web.look(world)
        world.on_pages = self._web.read
        world.shown = self._shown() | self._web.shown
        world.recorded = _recorded(system.database())
        world.trouble = [
            *(defect for part in system.parts.values() for defect in part.defects),
            *(
                f"LOST: #{said.act.number}: the command's placeholder is never filled"
                for said, original in self._discord.placeholders()
                if is_waiting(original)
            ),
        ]
        return world

    async def _new(self, stream: str) -> list[tuple[int, str, bytes]]:
        js = self._system.bus.js
        last = await self._system.bus.last_sequence(stream)
        found = []
        for sequence in range(self._read_up_to[stream] + 1, last + 1):
            try:
                get = functools.partial(js.get_msg, stream, sequence)
                message = await self._system.bus.until_done(get)
            except NotFoundError:
                continue
            found.append((sequence, message.subject or "", message.data or b""))
        self._read_up_to[stream] = max(last, self._read_up_to[stream])
        return found

    def _shown(self) -> dict[str, list[str]]:
        slack, discord = self._system.slack, self._system.discord
        shown: dict[str, list[str]] = {}
        for channel in slack.messages:
            for message in slack._in_order(channel):
                if message.get("bot_id"):
                    place = f"slack/{channel}/{message.get('thread_ts') or ''}"
                    shown.setdefault(place, []).append(rendered(message))
        for number in discord.messages:
            if texts := discord.read(number):
                shown[f"discord/{number}"] = texts
        for said in self.world.said.values():
            if said.answers:
                shown[said.shown_at] = list(said.answers)
        return shown

    # --- counts ---------------------------------------------------------------------------------

    async def count(self) -> None:
        """Adds up the counters of each process.

        Whatever a process counts between this call and its death is missing.
        """
        timeout = aiohttp.ClientTimeout(total=1.0)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            for part in self._system.parts.values():
                pid = part.pid
                port = _listening_port(pid) if pid and not part.paused else None
                if port is None:
                    continue
                try:
                    async with session.get(f"http://127.0.0.1:{port}/metrics") as page:
                        text = await page.text()
                except (aiohttp.ClientError, TimeoutError):
                    continue
                sums: dict[str, float] = {}
                for name, value in COUNTED.findall(text):
                    sums[name] = sums.get(name, 0.0) + float(value)
                for name, value in sums.items():
                    self._counters[pid or 0, name] = value

    def counted(self, name: str) -> int:
        """Returns one counter, summed over all processes and their restarts."""
        return round(sum(v for (_, n), v in self._counters.items() if n == name))


def _recorded(database: Path) -> Recorded:
    """The rows at this moment; none while the recorder migrates."""
    rows = Recorded({}, {})
    uri = f"{database.as_uri()}?mode=ro"  # it must not repair what the recorder left behind
    with (
        contextlib.suppress(sqlite3.Error),
        contextlib.closing(sqlite3.connect(uri, uri=True)) as connection,
    ):
        rows.questions.update(connection.execute("SELECT prompt_id, text FROM questions"))
        answers = connection.execute("SELECT prompt_id, outcome, text FROM answers")
        rows.answers.update((prompt, (outcome, text)) for prompt, outcome, text in answers)
    return rows


def _spot(place: Place) -> Spot:
    return Spot(place.platform, place.space, place.channel, place.thread, place.audience)


def _event(sequence: int, event: AnyEvent) -> Event:
    spot = _spot(event.place)
    return Event(
        sequence=sequence,
        id=event.id,
        kind=event.kind,
        user=event.user,
        spot=spot,
        text=getattr(event, "text", ""),
        about=getattr(event, "prompt_id", None) or "",
        said_at=event.said_at,
        shown_at=_shown_at(spot, event.address, event.id),
        fills_placeholder="token" in event.address
        or (spot.platform == "web" and event.kind == "again"),
        files=tuple(
            f"[{'picture' if file.blob else 'file'}: {file.name}]"
            for file in getattr(event, "attachments", ())
        ),
    )


def _shown_at(spot: Spot, address: Address, event_id: str) -> str:
    match spot.platform:
        case "slack":
            return f"slack/{address.get('channel', '')}/{address.get('thread_ts', '')}"
        case "discord":
            opened = address.get("open") == "1"
            return f"discord/{address.get('message' if opened else 'channel', '')}"
        case "web":
            return f"web/{spot.thread}"
        case _:
            return f"gateway/{event_id.rpartition('-m')[2].rstrip('x')}"


def _listening_port(pid: int) -> int | None:
    """Returns the port on which a process listens, according to /proc."""
    try:
        inodes = {
            link.readlink().name.removeprefix("socket:[").rstrip("]")
            for link in Path(f"/proc/{pid}/fd").iterdir()
            if link.is_symlink() and str(link.readlink()).startswith("socket:")
        }
        for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and fields[9] in inodes:
                return int(fields[1].rpartition(":")[2], 16)
    except OSError:
        return None
    return None
