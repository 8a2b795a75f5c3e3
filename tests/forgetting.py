"""People who say a marker in every kind of place, and how to look for it afterwards."""

import asyncio
import base64
from datetime import UTC, datetime
from pathlib import Path

import nats.js.errors

from dataflow import unreadable
from dataflow.store.sqlite import FILE
from shared import names, user_names
from shared.blobs import put_blob
from shared.bus import Bus
from shared.messages import Attachment, Configure, Deleted, Edited, Forget, Quote, Rate
from shared.replies import Reply
from tests.fakes.model import FakeModel
from tests.running import Running, answer_to, direct, question

MARKER = "Krähenfuß-7391"
OTHERS = "Zaunkönig-2846"
EVICT_S = 2
PLACES = ("PROMPTS", "REPLIES", "BLOBS", "DLQ", str(unreadable.FOLDER), str(FILE))
"""Parts of the paths of the files that contain a person's words before they are forgotten."""


def spellings(marker: str) -> set[bytes]:
    """The marker as it may be stored: as UTF-8, in JSON escapes, and in base64 at any offset."""
    raw = marker.encode()
    shifted = (base64.b64encode(b"\0" * n + raw)[(0, 2, 3)[n] : -4] for n in range(3))
    return {raw, marker.encode("unicode_escape").replace(b"\\x", b"\\u00"), *shifted}


def files_with(folder: Path, marker: str) -> list[str]:
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and any(spelling in path.read_bytes() for spelling in spellings(marker))
    )


class World:
    """A dataflow with its data in `folder`, and what people say there."""

    def __init__(self, bus: Bus, model: FakeModel, folder: Path, flow: Running) -> None:
        """`folder`: everything below it is searched. `flow`: not started yet."""
        self.bus, self.model, self.folder, self.flow = bus, model, folder, flow
        self.home = Path(flow.env["THREADWAX_HOME"])
        model.reply = lambda request: f"I repeat: {request['messages'][-1]['content']}"

    async def start(self) -> None:
        self.flow.log.unlink(missing_ok=True)
        self.flow.start()
        await self.flow.ready()

    async def says_everything(self, name: str, marker: str) -> None:
        """The marker in every kind of place: some are answered, some cannot be read."""
        user, now = user_names.user_of("test", name), datetime.now(UTC)
        where = {"user": user, "place": direct(name), "said_at": now}
        await put_blob(self.bus, f"test-{name}-picture", marker.encode() * 1000, user=user)
        picture = Attachment(name=f"{marker}.png", media_type="image/png",
                             blob=f"test-{name}-picture")  # fmt: skip
        notes = Attachment(name="notes.txt", media_type="text/plain", text=f"notes {marker}")
        await answer_to(self.bus, question(
            name, 1, f"question {marker}", attachments=(picture, notes),
            persona=f"You are {marker}", quotes=(Quote(author="Bob", text=f"quote {marker}"),),
        ))  # fmt: skip
        for number in range(2, 12):
            await answer_to(self.bus, question(name, number, f"{number} {marker} " * 40))
        asked = f"{name}-2"
        await answer_to(self.bus, Edited(
            id=f"{name}-e", prompt_id=asked, text=f"edited {marker}", ask_again=True, **where,
        ))  # fmt: skip
        await self.bus.publish(Rate(id=f"{name}-r", prompt_id=asked, thumb="down", **where))
        await self.bus.publish(Deleted(id=f"{name}-d", prompt_id=f"{name}-3", **where))
        await self.bus.publish(Configure(id=f"{name}-c", settings={"tone": marker}, **where))
        broken = b'{"v": 1, "kind": "sing", "text": "' + marker.encode() + b'"}'
        await self.bus.js.publish(names.prompt_subject(user), broken)
        await self.bus.dead_letter(
            subject=names.reply_subject(user, asked), data=marker.encode(), reason="not shown"
        )
        folder = self.home / unreadable.FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(f'{{"user":"{user}","words":"{marker}"}}')
        async with asyncio.timeout(30):
            while len((await self.messages(name))[names.DLQ]) < 2:
                await asyncio.sleep(0.05)

    async def until_everywhere(self, marker: str) -> list[str]:
        """The files with the marker, once the conversation is stored, too."""
        async with asyncio.timeout(30):
            while True:
                found = await asyncio.to_thread(files_with, self.folder, marker)
                if all(place in " ".join(found) for place in PLACES):
                    return found
                await asyncio.sleep(0.2)

    async def forget(self, name: str, number: int = 1) -> Reply:
        return await answer_to(self.bus, self.forget_event(name, number), timeout_s=60)

    def forget_event(self, name: str, number: int = 1) -> Forget:
        return Forget(
            id=f"{name}-forget-{number}", user=user_names.user_of("test", name), place=direct(name),
            said_at=datetime.now(UTC),
        )  # fmt: skip

    async def messages(self, name: str) -> dict[str, list[tuple[str, bytes]]]:
        """Everything that the streams have of a user."""
        found: dict[str, list[tuple[str, bytes]]] = {}
        for stream, subject in (
            (names.PROMPTS, f"p.*.test.{name}"),
            (names.REPLIES, f"replies.test.{name}.*"),
            (names.DLQ, f"dlq.p.*.test.{name}"),
            (names.DLQ, f"dlq.replies.test.{name}.*"),
            (names.BLOBS, f"blobs.test.test-{name}-picture.*"),
        ):
            sequence = 1
            found.setdefault(stream, [])
            while True:
                try:
                    message = await self.bus.js.get_msg(
                        stream, seq=sequence, subject=subject, next=True
                    )
                except nats.js.errors.NotFoundError:
                    break
                found[stream].append((message.subject or "", message.data or b""))
                sequence = (message.seq or 0) + 1
        return found
