"""People on the real web page. Each has one tab open, and does one thing after another in it.

A question is accepted once the page shows it and no longer says that it is being sent. One that the
page marks as not sent is sent again with the page's own button until it is accepted.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable
from typing import Final

from bots.web.turns import SENDING
from tests.chaos.model import MARKER
from tests.chaos.plan import PEOPLE, Act
from tests.chaos.said import Said, Spot
from tests.chaos.slack_users import text_of
from tests.chaos.world import Event, World
from tests.web_tab import ShownTurn, WebTab

GIVE_UP_S: Final = 60.0
LOADED_WITHIN_S: Final = 5.0
RESEND_AFTER_S: Final = 0.3
UNFINISHED: Final = " ▌"
_ESCAPED: Final = re.compile(r"\\([^\w\s])")


class WebUsers:
    """All people on the page. `address` returns where the page is; `said`: the acts by number."""

    def __init__(self, address: Callable[[], str], said: dict[int, Said]) -> None:
        self._address = address
        self._said = said
        self._tabs: dict[str, WebTab] = {}
        self._busy: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._whose: dict[str, str] = {}
        self._looked: dict[str, frozenset[str]] = {}
        self.shown: dict[str, list[str]] = {}
        """The answers of each conversation, as a page that was just loaded shows them."""
        self.read: dict[str, set[int]] = defaultdict(set)
        """By person: the acts whose question or answer any of their pages ever showed."""
        self.sent_again = 0
        self.not_taken = 0
        self.pressed = 0

    async def open(self) -> None:
        """Opens everybody's tab."""
        for who in PEOPLE["web"]:
            self._tabs[who] = await self._tab(who).__aenter__()

    async def close(self) -> None:
        """Closes everybody's tab."""
        for tab in self._tabs.values():
            await tab.__aexit__(None, None, None)

    def _tab(self, who: str, **query: str) -> WebTab:
        tab = WebTab(self._address, user=who, **query)

        def read(text: str) -> None:
            self.read[who] |= {int(number) for number in MARKER.findall(text)}

        tab.on_text = read
        return tab

    async def do(self, act: Act) -> None:
        """Carries out an act."""
        async with self._busy[act.who]:
            tab = self._tabs[act.who]
            match act.what:
                case "ask":
                    await self._ask(tab, act)
                case "stop" | "again":
                    await self._press(tab, act)

    # --- acts -----------------------------------------------------------------------------------

    async def _go(self, tab: WebTab, act: Act) -> bool:
        """Opens the conversation of the act's target, or a new one."""
        before, query = tab.run, {"user": act.who}
        if act.target is not None:
            query["c"] = self._said[act.target].spot.thread
        await tab.go(**query)

        def is_there() -> bool:
            here = tab.query.get("c", "")
            return tab.can_ask and tab.run != before and bool(here) and query.get("c", here) == here

        return await tab.until(is_there, within_s=GIVE_UP_S)

    def _note(self, act: Act, conversation: str) -> Said:
        spot = Spot("web", "", "web", conversation, "direct")
        self._whose[conversation] = act.who
        said = self._said[act.number] = Said(act, spot, f"web/{conversation}")
        return said

    async def _ask(self, tab: WebTab, act: Act) -> None:
        deadline = asyncio.get_running_loop().time() + GIVE_UP_S
        while asyncio.get_running_loop().time() < deadline:
            if await self._go(tab, act):
                said = self._note(act, tab.query["c"])
                connection = tab.connections
                if await tab.say(text_of(act)):
                    said.accepted = await self._is_taken(tab, act, connection)
                    break
        else:
            said = self._note(act, "never-opened")
        self.not_taken += not said.accepted
        said.done = True

    async def _is_taken(self, tab: WebTab, act: Act, connection: int) -> bool:
        """Waits until the page shows that the question is stored, or has lost it."""

        def shown() -> ShownTurn | None:
            found = [turn for turn in tab.turns() if act.marker in turn.question.split()]
            return found[-1] if found else None

        def is_lost() -> bool:
            drawn = tab.is_finished or any(turn.is_waiting for turn in tab.turns())
            return tab.connections != connection and drawn and shown() is None

        def is_decided() -> bool:
            turn = shown()
            return is_lost() or (turn is not None and (turn.is_unsent or _is_stored(turn)))

        deadline = asyncio.get_running_loop().time() + GIVE_UP_S
        while asyncio.get_running_loop().time() < deadline:
            await tab.until(is_decided, within_s=GIVE_UP_S)
            turn = shown()
            if turn is not None and turn.is_unsent:
                await asyncio.sleep(RESEND_AFTER_S)
                self.sent_again += await tab.press(f"resend-{turn.id}")
                run = tab.run
                await tab.until(lambda run=run: tab.run != run, within_s=LOADED_WITHIN_S)
            elif turn is None or _is_stored(turn):
                return turn is not None
        return False

    async def _press(self, tab: WebTab, act: Act) -> None:
        """Presses a button in the conversation of the act's target, if the page shows one.

        Only the newest answer can be given again, and only a growing one stopped.
        """
        target = self._said[act.target or 0]
        said = self._note(act, target.spot.thread)
        await self._go(tab, act)
        for turn in tab.turns()[-1:]:
            if act.what in turn.buttons:
                self.pressed += await tab.press(f"{act.what}-{turn.id}")
        said.done = True

    # --- what everybody sees --------------------------------------------------------------------

    async def look(self, world: World) -> None:
        """Loads each page again that may show something new."""
        expected = _expected(world)
        await asyncio.gather(
            *(
                self._load(conversation, who, expected[conversation])
                for conversation, who in self._whose.items()
                if self._looked.get(conversation) != expected[conversation]
            )
        )

    async def _load(self, conversation: str, who: str, expected: frozenset[str]) -> None:
        async with self._tab(who, c=conversation) as tab:

            def is_drawn() -> bool:
                return tab.is_finished or any(turn.is_waiting for turn in tab.turns())

            if not await tab.until(is_drawn, within_s=LOADED_WITHIN_S):
                return
            turns = tab.turns()
            self.shown[f"web/{conversation}"] = [_read(t) for t in turns if not t.is_unsent]
            if tab.is_finished and expected == {turn.id for turn in turns}:
                self._looked[conversation] = expected


def _expected(world: World) -> dict[str, frozenset[str]]:
    """The turns that a page should show, only to know whether it has to be loaded again."""
    replied = {reply.prompt_id for reply in world.replies}
    replaced = {event.about for event in world.events if event.kind == "again"}
    found: dict[str, set[str]] = defaultdict(set)
    for event in world.events:
        if _is_shown(event) and event.id in replied - replaced:
            found[event.spot.thread].add(event.id)
    return defaultdict(frozenset, {key: frozenset(ids) for key, ids in found.items()})


def _is_shown(event: Event) -> bool:
    return event.spot.platform == "web" and event.wants_answer


def _is_stored(turn: ShownTurn) -> bool:
    return bool(turn.answer) and SENDING not in turn.answer


def _read(turn: ShownTurn) -> str:
    """The answer as people read it."""
    if turn.is_waiting:
        return turn.answer.removesuffix(UNFINISHED) + UNFINISHED
    return _ESCAPED.sub(r"\1", turn.answer.replace(":gray[(stopped)]", "(stopped)"))
