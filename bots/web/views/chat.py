"""The chat: a script that reads a person's turns, draws them, and waits while an answer grows."""

import time
from collections.abc import Iterable
from typing import Any, Final

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from bots.web import events
from bots.web.current import current
from bots.web.dollars import with_money
from bots.web.files import PICTURE_ENDINGS, TEXT_ENDINGS
from bots.web.person import Person
from bots.web.turns import Growing, Turn, Upload, conversations, shown
from bots.web.views.look import LOGO, STYLE
from bots.web.views.sharing import SHARED, shared, show_new_link
from bots.web.views.sidebar import sidebar
from bots.web.views.turn import EDITING, TurnView
from bots.web.visitor import Visitor
from shared.messages import TEXT_LIMIT_CHARS, Ask

OPEN_WITHIN_S: Final = 35.0
"""Longer than the recorder is waited for."""

YIELD_S: Final = 0.25
PULSE_S: Final = 5.0
"""How soon a page without growing answers shows what another tab asked."""

CONVERSATION: Final = "c"
"""The conversation's id in the address."""

DRAWN: Final = "drawn"
"""The key in the session's state of how many turns the last run drew."""

CURSOR: Final = " ▌"
THINKING: Final = ":shimmer[Thinking …]"

IDEAS: Final = {
    ("code", "Write a function"): "Write a Python function that merges two sorted lists.",
    ("table_chart", "Compare two things"): "Compare tea and coffee in a table.",
    ("lightbulb", "Explain simply"): "Explain to a child why the sky is blue.",
}


def chat(who: Visitor) -> None:
    """Shows one conversation, and the list of all; or what a link of somebody else shows."""
    if token := st.query_params.get(SHARED):
        shared(who, token)
        return
    show_new_link()
    person: Person = current().web.opened(who.user).result(OPEN_WITHIN_S)
    view = person.view()
    conversation = st.query_params.get(CONVERSATION) or events.new_conversation()
    st.query_params[CONVERSATION] = conversation
    listed = conversations(view.turns, view.titles)
    sidebar(who, person, listed, conversation, _open)
    notice = st.empty()
    if not person.is_loaded:
        notice.caption("Earlier conversations cannot be shown now: the recorder does not answer.")
    st.html(STYLE)
    page = _Page(who, conversation, person)
    page.take_input()
    view = person.view()
    page.draw(shown(view.turns, conversation), view.settled)


def _open(conversation: str) -> None:
    st.query_params[CONVERSATION] = conversation
    st.session_state.pop(EDITING, None)


class _Page:
    """One run of the script for one conversation."""

    def __init__(self, who: Visitor, conversation: str, person: Person) -> None:
        self._who = who
        self._user = who.user
        self._conversation = conversation
        self._person = person
        self._web = current().web
        self._turns = TurnView(who, person)

    # --- what people do ------------------------------------------------------------------------

    def take_input(self) -> None:
        """Draws the input at the bottom, and asks what was written into it."""
        said: Any = st.chat_input(
            "Ask anything", key="say", max_chars=TEXT_LIMIT_CHARS, accept_file="multiple",
            file_type=[*PICTURE_ENDINGS, *TEXT_ENDINGS],
        )  # fmt: skip
        if said and (said.text.strip() or said.files):
            self._ask(
                said.text,
                [Upload(file.name, file.type or "", file.getvalue()) for file in said.files],
            )

    def _ask(self, text: str, uploads: Iterable[Upload] = ()) -> None:
        uploads = tuple(uploads)
        # An event says something: without words, the names of the files do until they are stored.
        words = text if text.strip() else ", ".join(upload.name for upload in uploads)
        asked = events.event(Ask, self._user, self._conversation, text=words)
        turn = events.turn_of(asked, tuple(upload.name for upload in uploads))
        self._person.put(turn)
        self._web.ask(turn, asked, uploads)

    # --- what people see -----------------------------------------------------------------------

    def draw(self, turns: list[Turn], settled: int) -> None:
        """Draws the turns; then waits for growing answers, or for what other tabs do.

        While this waits, Streamlit keeps what an earlier run drew in places where this one draws
        nothing; so every element that can be missing is drawn as an empty one.
        """
        ideas = st.empty()
        if not turns:
            self._draw_ideas(ideas)
        slots = {}
        for turn in turns:
            slot = self._turns.draw(turn, last=turn is turns[-1])
            if slot is not None:
                slots[turn.id] = slot
        for _ in range(st.session_state.get(DRAWN, 0) - len(turns)):
            st.empty()  # a question
            st.empty()  # its answer
        st.session_state[DRAWN] = len(turns)
        if slots:
            self._grow(slots, settled)

        @st.fragment(run_every=PULSE_S)
        def pulse() -> None:
            if self._person.is_outdated:
                self._web.opened(self._user).result(OPEN_WITHIN_S)
            if self._person.view().settled != settled or self._who.is_gone:
                st.rerun()

        pulse()

    def _draw_ideas(self, slot: DeltaGenerator) -> None:
        with slot.container(horizontal_alignment="center", gap="medium"):
            st.space(64)
            st.image(LOGO, width=56)
            st.header("What shall we talk about?", anchor=False, width="content")
            st.caption("Nothing you say here is lost, and no answer comes twice.", width="content")
            with st.container(horizontal=True, horizontal_alignment="center"):
                for (icon, label), idea in IDEAS.items():
                    st.button(
                        label, icon=f":material/{icon}:", key=f"idea-{icon}",
                        on_click=self._ask, args=(idea,),
                    )  # fmt: skip

    def _grow(self, slots: dict[str, DeltaGenerator], settled: int) -> None:
        """Shows growing answers until one is finished, or somebody does something."""
        with self._web.drawing.tab():
            self._redraw(slots, settled)

    def _redraw(self, slots: dict[str, DeltaGenerator], settled: int) -> None:
        seen = -1
        while True:
            seen = self._person.wait(seen, YIELD_S)
            _ = EDITING in st.session_state  # ends this thread after a click or a closed tab
            view = self._person.view()
            if view.settled != settled or self._who.is_gone:
                st.rerun()
            for prompt_id, slot in slots.items():
                turn = view.turns.get(prompt_id)
                if turn is not None and isinstance(turn.answer, Growing):
                    answer = turn.answer
                    waiting = f":gray[{answer.status}]" if answer.status else THINKING
                    slot.markdown(with_money(answer.text) + CURSOR if answer.text else waiting)
            time.sleep(self._web.drawing.pause_s)
