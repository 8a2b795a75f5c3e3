"""A request contains only texts that all readers of its place could read where they were written.

Random platforms have people, guests, other companies, private threads and changing permissions.
This file computes who can read what from the platform's own rules; the adapters supply the places.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import discord
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from bots.discord.audience import location_of
from bots.discord.audience import place_of as discord_place_of
from bots.gateway.events import ask_of
from bots.slack.audience import channel_of
from bots.slack.audience import place_of as slack_place_of
from dataflow import history
from dataflow.audience import may_recall
from dataflow.conversation import Conversation
from dataflow.effects import CallModel, Effect, Settle
from dataflow.tokens import Window
from shared.messages import Ask, Place
from shared.replies import Journaled, Reply

START = datetime(2026, 1, 1, tzinfo=UTC)
WINDOW = Window(context_tokens=1_000_000, answer_tokens=100, system_prompt="s")

PEOPLE = ("ada", "bob", "cyd", "dee")
VIEW, HISTORY = 1 << 10, 1 << 16


class SimulatedPlatform:
    """A platform: its rooms, who can read them now, and the places that its adapter reports."""

    def rooms(self) -> list[str]:
        raise NotImplementedError

    def reads(self, person: str, room: str) -> bool:
        """Whether this person can read new messages there."""
        raise NotImplementedError

    def reads_past(self, person: str, room: str) -> bool:
        """Whether this person can read earlier messages there."""
        return self.reads(person, room)

    def place(self, person: str, room: str, number: int) -> Place:
        raise NotImplementedError

    def changes(self, draw: "st.DrawFn | Any") -> None:
        """Makes one random change to members, permissions or kinds of rooms."""
        raise NotImplementedError


@dataclass
class SimulatedSlack(SimulatedPlatform):
    """A workspace with members, guests, and people of another company in shared channels."""

    guests: set[str] = field(default_factory=lambda: {"cyd"})
    strangers: set[str] = field(default_factory=lambda: {"dee"})
    members: dict[str, set[str]] = field(
        default_factory=lambda: {"C1": {"ada"}, "C2": {"ada", "cyd"}, "G1": {"ada", "bob"},
                                 "G2": {"bob"}, "M1": {"ada", "bob"}}
    )  # fmt: skip
    private: set[str] = field(default_factory=lambda: {"G1", "G2", "M1"})
    shared: set[str] = field(default_factory=set)
    ever_shared: dict[str, int] = field(default_factory=dict)

    def rooms(self) -> list[str]:
        return [*self.members, *(f"D{person}" for person in PEOPLE)]

    def reads(self, person: str, room: str) -> bool:
        if room.startswith("D"):
            return room == f"D{person}"
        if person in self.members[room]:
            return person not in self.strangers or room in self.shared
        full_member = person not in self.guests | self.strangers
        return full_member and room not in self.private

    def place(self, person: str, room: str, number: int) -> Place:
        info: dict[str, Any] = {"id": room}
        if room.startswith("D"):
            info |= {"is_im": True, "user": room[1:]}
        else:
            info |= {"is_private": room in self.private, "is_mpim": room == "M1",
                     "is_ext_shared": room in self.shared}  # fmt: skip
        return slack_place_of("T1", room, f"{number % 3}.0", person, channel_of(info, "T1"))

    def changes(self, draw: Any) -> None:
        room = draw(st.sampled_from(sorted(self.members)))
        person = draw(st.sampled_from(PEOPLE))
        match draw(st.sampled_from(["member", "opened", "shared"])):
            case "member":
                self.members[room] ^= {person}
            case "opened":
                self.private ^= {room}
            case _:
                self.shared ^= {room}


class SimulatedDiscord(SimulatedPlatform):
    """A server with a role, overwrites for roles and members, and private threads."""

    def __init__(self) -> None:
        self.ids = {person: 100 + n for n, person in enumerate(PEOPLE)}
        self.staff = {"ada"}
        self.everyone = VIEW | HISTORY
        self.staff_permissions = 0
        self.overwrites: dict[str, dict[int, tuple[int, int]]] = {"1001": {}, "1002": {}}
        self.threads = {"2001": ("1001", {"ada", "bob"}), "2002": ("1001", {"ada"}),
                        "2003": ("1002", {"bob", "cyd"})}  # fmt: skip
        self._state = discord.Client(intents=discord.Intents.none())._connection

    def rooms(self) -> list[str]:
        return [*self.overwrites, *self.threads, *(f"D{person}" for person in PEOPLE)]

    def _permissions(self, person: str, room: str) -> int:
        """Computes permissions as documented in https://docs.discord.com/developers/topics/permissions."""
        staff = person in self.staff
        allowed = self.everyone | (self.staff_permissions if staff else 0)
        overwrites = self.overwrites[room]
        for who in (1, 2 if staff else 0, self.ids[person]):
            allow, deny = overwrites.get(who, (0, 0))
            allowed = allowed & ~deny | allow
        return allowed

    def reads(self, person: str, room: str) -> bool:
        if room.startswith("D"):
            return room == f"D{person}"
        if room in self.threads:
            parent, members = self.threads[room]
            return person in members and self.reads(person, parent)
        return bool(self._permissions(person, room) & VIEW)

    def reads_past(self, person: str, room: str) -> bool:
        if room.startswith("D"):
            return room == f"D{person}"
        of = self.threads[room][0] if room in self.threads else room
        return self.reads(person, room) and bool(self._permissions(person, of) & HISTORY)

    def place(self, person: str, room: str, number: int) -> Place:
        del person
        if room.startswith("D"):
            data: Any = {"id": "1", "type": 1, "last_message_id": None,
                         "recipients": [{"id": "9", "username": "x", "discriminator": "0",
                                         "avatar": None, "global_name": None}]}  # fmt: skip
            direct = discord.DMChannel(me=discord.Object(7), state=self._state, data=data)  # type: ignore[arg-type]
            return discord_place_of(location_of(direct, None, 1, 7), number, "thread")
        guild = self._guild()
        channel = guild.get_channel_or_thread(int(room))
        return discord_place_of(location_of(channel, guild, int(room), 7), number, "thread")

    def _guild(self) -> discord.Guild:
        role: dict[str, Any] = {"color": 0, "hoist": False, "managed": False, "mentionable": False,
                                "flags": 0}  # fmt: skip
        roles = [
            role | {"id": "1", "name": "@everyone", "position": 0,
                    "permissions": str(self.everyone)},
            role | {"id": "2", "name": "staff", "position": 1,
                    "permissions": str(self.staff_permissions)},
        ]  # fmt: skip
        channels = [
            {"id": room, "type": 0, "name": room, "position": 0, "nsfw": False, "parent_id": None,
             "permission_overwrites": [
                 {"id": str(who), "type": 0 if who < 100 else 1, "allow": str(allow),
                  "deny": str(deny)} for who, (allow, deny) in overwrites.items()]}
            for room, overwrites in self.overwrites.items()
        ]  # fmt: skip
        threads = [
            {"id": thread, "guild_id": "1", "parent_id": parent, "owner_id": "7", "type": 12,
             "name": thread, "message_count": 0, "member_count": 1, "rate_limit_per_user": 0,
             "last_message_id": None, "thread_metadata": {
                 "archived": False, "auto_archive_duration": 60, "locked": False,
                 "archive_timestamp": "2026-01-01T00:00:00+00:00"}}
            for thread, (parent, _) in self.threads.items()
        ]  # fmt: skip
        data: Any = {"id": "1", "name": "s", "owner_id": "9", "roles": roles, "channels": channels,
                     "threads": threads, "member_count": 5, "members": [], "emojis": [],
                     "features": [], "verification_level": 0, "preferred_locale": "en-US",
                     "default_message_notifications": 0, "explicit_content_filter": 0,
                     "mfa_level": 0, "nsfw_level": 0, "premium_tier": 0,
                     "system_channel_flags": 0, "premium_progress_bar_enabled": False}  # fmt: skip
        return discord.Guild(data=data, state=self._state)

    def changes(self, draw: Any) -> None:
        match draw(st.sampled_from(["role", "thread", "overwrite", "everyone", "staff"])):
            case "role":
                self.staff ^= {draw(st.sampled_from(PEOPLE))}
            case "thread":
                _, members = self.threads[draw(st.sampled_from(sorted(self.threads)))]
                members ^= {draw(st.sampled_from(PEOPLE))}
            case "everyone":
                self.everyone = draw(st.sampled_from([0, VIEW, VIEW | HISTORY, HISTORY]))
            case "staff":
                self.staff_permissions = draw(st.sampled_from([0, VIEW, VIEW | HISTORY]))
            case _:
                room = draw(st.sampled_from(sorted(self.overwrites)))
                who = draw(st.sampled_from([1, 2, *self.ids.values()]))
                allow = draw(st.sampled_from([0, VIEW, HISTORY, VIEW | HISTORY]))
                deny = draw(st.sampled_from([0, VIEW, HISTORY, VIEW | HISTORY])) & ~allow
                self.overwrites[room][who] = (allow, deny)


class SimulatedGateway(SimulatedPlatform):
    """People with and without credentials, who can use each other's names."""

    def rooms(self) -> list[str]:
        return [f"{way}:{person}" for way in ("known", "guest") for person in PEOPLE]

    def reads(self, person: str, room: str) -> bool:
        return room.endswith(f":{person}")

    def place(self, person: str, room: str, number: int) -> Place:
        raise AssertionError(f"the request has its own place: {person}, {room}, {number}")

    def changes(self, draw: Any) -> None:
        del draw


@dataclass
class Written:
    """Where a text was written, and who could read it then."""

    room: str
    readers: set[str]


class Audience(RuleBasedStateMachine):
    """People ask in all their rooms while the platform changes."""

    make: type[SimulatedPlatform]

    @initialize()
    def begins(self) -> None:
        self.platform = self.make()
        self.talks: dict[str, Conversation] = {}
        self.written: dict[str, Written] = {}
        self.count = 0

    def ask(self, person: str, room: str) -> Ask:
        place = self.platform.place(person, room, self.count)
        return Ask(
            id=f"q{self.count}", user=f"{place.platform}:{person}", place=place,
            said_at=START + timedelta(seconds=self.count), text=f"[w{self.count}]",
        )  # fmt: skip

    @rule(data=st.data())
    def asks(self, data: st.DataObject) -> None:
        person = data.draw(st.sampled_from(PEOPLE))
        rooms = [room for room in self.platform.rooms() if self.platform.reads(person, room)]
        if not rooms:
            return
        room = data.draw(st.sampled_from(rooms))
        self.count += 1
        question = self.ask(person, room)
        readers = {one for one in PEOPLE if self.platform.reads(one, room)}
        self.written[f"[w{self.count}]"] = self.written[f"[a{self.count}]"] = Written(room, readers)
        talk = self.talks.setdefault(question.user, Conversation(WINDOW))
        effects = talk.on_event(question, replayed=False)
        while effects:
            effects = [e for effect in effects for e in self.answered(talk, effect, room)]

    def answered(self, talk: Conversation, effect: Effect, room: str) -> list[Effect]:
        assert isinstance(effect, CallModel | Settle)
        if isinstance(effect, CallModel):
            self.check(json.dumps(effect.request.messages), room)
        return talk.on_reply(
            Journaled(
                Reply(
                    prompt_id=effect.ask.id, user=effect.ask.user, place=effect.ask.place,
                    outcome="answered", text=f"[a{self.count}]", prompt_text=effect.ask.text,
                    said_at=effect.ask.said_at, answered_at=effect.ask.said_at,
                )
            )
        )  # fmt: skip

    def check(self, request: str, room: str) -> None:
        """Checks that all readers of this room could read each text where it was written."""
        for words, written in self.written.items():
            if words not in request:
                continue
            for reader in PEOPLE:
                if self.platform.reads(reader, room):
                    could = reader in written.readers or self.platform.reads_past(
                        reader, written.room
                    )
                    assert could, f"{reader} reads in {room} what was written in {written.room}"

    @rule(data=st.data())
    def changes(self, data: st.DataObject) -> None:
        self.platform.changes(data.draw)

    @rule()
    def restarts(self) -> None:
        self.talks = {
            user: Conversation.load(talk.dump(), WINDOW) for user, talk in self.talks.items()
        }

    @invariant()
    def nobody_waits(self) -> None:
        assert all(not talk.pending for talk in getattr(self, "talks", {}).values())


class SlackAudience(Audience):
    make = SimulatedSlack


class DiscordAudience(Audience):
    make = SimulatedDiscord


class GatewayAudience(Audience):
    make = SimulatedGateway

    def ask(self, person: str, room: str) -> Ask:
        guest = room.startswith("guest:")
        data = json.dumps({"user_id": person, "prompt": f"[w{self.count}]"}).encode()
        now = START + timedelta(seconds=self.count)
        return ask_of(data, {}, "_INBOX.x.y", now=now, fresh_id=f"n{self.count}", guest=guest)


ALL = (SlackAudience, DiscordAudience, GatewayAudience)


@pytest.mark.parametrize("machine", ALL)
def test_no_request_contains_a_text_that_its_readers_could_not_read(
    machine: type[Audience],
) -> None:
    run_state_machine_as_test(machine, settings=settings(max_examples=40, stateful_step_count=40))


def from_public_channels(said_in: Place, here: Place) -> bool:
    """A rule of an earlier version: messages of public channels may be used in all of the space."""
    public = (
        said_in.audience == "public" and said_in.space.split("/")[0] == here.space.split("/")[0]
    )
    return may_recall(said_in, here) or public


@pytest.mark.parametrize(
    ("machine", "mistake"),
    [
        (SlackAudience, from_public_channels),
    ],
)
def test_a_rule_that_reveals_too_much_is_detected(
    machine: type[Audience],
    mistake: Callable[[Place, Place], bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(history, "may_recall", mistake)
    few = settings(
        max_examples=400, stateful_step_count=40, database=None, derandomize=True,
        phases=[Phase.generate],
    )  # fmt: skip
    with pytest.raises(AssertionError, match="what was written in"):
        run_state_machine_as_test(machine, settings=few)
