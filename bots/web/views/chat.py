"""The chat: a script that reads a person's turns, draws them, and waits while an answer grows."""

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from bots.web import events
from bots.web.current import current
from bots.web.files import PICTURE_ENDINGS, TEXT_ENDINGS
from bots.web.person import Person
from bots.web.turns import (
    Finished,
    Growing,
    Thumb,
    Turn,
    Unsent,
    Upload,
    conversations,
    shown,
)
from bots.web.views.look import LOGO, STYLE, literal
from bots.web.views.sidebar import sidebar
from bots.web.visitor import Visitor
from shared.messages import (
    REASON_LIMIT_CHARS,
    TEXT_LIMIT_CHARS,
    Again,
    Ask,
    Edited,
    Rate,
    Stop,
)

OPEN_WITHIN_S: Final = 35.0
"""Longer than the recorder is waited for."""

REDRAW_S: Final = 0.1
YIELD_S: Final = 0.25
PULSE_S: Final = 5.0
"""How soon a page without growing answers shows what another tab asked."""

CONVERSATION: Final = "c"
"""The conversation's id in the address."""

DRAWN: Final = "drawn"
"""The key in the session's state of how many turns the last run drew."""

EDITING: Final = "editing"
"""The key in the session's state of the turn whose question is being edited."""

CURSOR: Final = " ▌"
THINKING: Final = ":shimmer[Thinking …]"
THUMBS: Final[dict[int | None, Thumb]] = {1: "up", 0: "down", None: "none"}

IDEAS: Final = {
    ("code", "Write a function"): "Write a Python function that merges two sorted lists.",
    ("table_chart", "Compare two things"): "Compare tea and coffee in a table.",
    ("lightbulb", "Explain simply"): "Explain to a child why the sky is blue.",
}


def chat(who: Visitor) -> None:
    """Shows one conversation, and the list of all."""
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

    def _ask_in_place_of(self, turn: Turn, asked: Again | Edited) -> None:
        made = events.turn_in_place_of(turn, asked)
        self._person.put(made)
        self._web.ask(made, asked)

    def _again(self, turn: Turn) -> None:
        asked = events.event(Again, self._user, self._conversation, prompt_id=turn.id)
        self._ask_in_place_of(turn, asked)

    def _edit(self, turn: Turn) -> None:
        st.session_state.pop(EDITING, None)
        text = str(st.session_state.get(f"edited-{turn.id}") or "")
        if not text.strip() or text == turn.question:
            return
        asked = events.event(
            Edited, self._user, self._conversation, prompt_id=turn.id, text=text, ask_again=True
        )
        self._ask_in_place_of(turn, asked)

    def _stop(self, turn: Turn) -> None:
        self._web.send(events.event(Stop, self._user, self._conversation, prompt_id=turn.id))

    def _rate(self, turn: Turn, *, words: bool = False) -> None:
        thumb = THUMBS[st.session_state[f"thumb-{turn.id}"]]
        said = {}
        if words:
            said = {
                name: str(st.session_state.get(f"{name}-{turn.id}") or "")
                for name in ("reason", "correction")
            }
        rated = events.event(
            Rate, self._user, self._conversation, prompt_id=turn.id, thumb=thumb, **said
        )
        why_not = self._web.send(rated).result(OPEN_WITHIN_S)
        if why_not:
            st.toast(why_not, icon=":material/error:")
        else:
            self._person.put(replace(turn, thumb=thumb))
            if words:
                st.toast("Thank you. It is noted.", icon=":material/check:")

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
            slot = self._draw_turn(turn, last=turn is turns[-1])
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
            is_new = self._person.view().settled != settled
            if is_new or self._person.is_outdated or self._who.is_gone:
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

    def _draw_turn(self, turn: Turn, *, last: bool) -> DeltaGenerator | None:
        """Draws a turn; returns where its answer grows, unless that is finished."""
        with (
            st.container(key=f"asked-{turn.id}"),
            st.chat_message("user", avatar=":material/person:"),
        ):
            self._draw_question(turn, last=last)
        with st.chat_message("assistant", avatar=LOGO):
            match turn.answer:
                case Growing():
                    slot = st.empty()
                    st.button(
                        "Stop", icon=":material/stop_circle:", type="tertiary",
                        key=f"stop-{turn.id}", on_click=self._stop, args=(turn,),
                    )  # fmt: skip
                    return slot
                case Unsent(why, event, uploads):
                    st.warning(why, icon=":material/cloud_off:")
                    st.button(
                        "Send again", icon=":material/send:", key=f"resend-{turn.id}",
                        on_click=self._web.ask, args=(turn, event, uploads),
                    )  # fmt: skip
                case Finished() as answer:
                    self._draw_answer(turn, answer, last=last)
        return None

    def _draw_question(self, turn: Turn, *, last: bool) -> None:
        if st.session_state.get(EDITING) == turn.id:
            with st.form(f"edit-{turn.id}", border=False):
                st.text_area(
                    "Your question", turn.question, key=f"edited-{turn.id}",
                    max_chars=TEXT_LIMIT_CHARS, label_visibility="collapsed",
                )  # fmt: skip
                st.form_submit_button(
                    "Ask again",
                    type="primary",
                    key=f"ask-edited-{turn.id}",
                    on_click=self._edit,
                    args=(turn,),
                )
            return
        if turn.question:
            st.text(turn.question)
        else:
            st.caption("(not kept)")
        files, edit = st.empty(), st.empty()
        if turn.files:
            files.caption(literal(", ".join(turn.files)))
        if last and isinstance(turn.answer, Finished):
            edit.button(
                "Edit", icon=":material/edit:", type="tertiary", help="Edit and ask again",
                key=f"edit-button-{turn.id}",
                on_click=st.session_state.__setitem__, args=(EDITING, turn.id),
            )  # fmt: skip

    def _draw_answer(self, turn: Turn, answer: Finished, *, last: bool) -> None:
        if answer.outcome in {"answered", "stopped"}:
            st.markdown(answer.text or ":gray[(stopped)]")
        else:
            st.warning(literal(answer.text))
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            rating, words, again = st.empty(), st.empty(), st.empty()
            if answer.outcome == "answered":
                chosen = next(n for n, thumb in THUMBS.items() if thumb == turn.thumb)
                rating.feedback(
                    "thumbs", key=f"thumb-{turn.id}", default=chosen,
                    on_change=self._rate, args=(turn,),
                )  # fmt: skip
            if turn.thumb != "none":
                self._draw_words(turn, words)
            if last and answer.outcome != "refused":
                again.button(
                    "Again", icon=":material/refresh:", type="tertiary", help="Answer again",
                    key=f"again-{turn.id}", on_click=self._again, args=(turn,),
                )  # fmt: skip
            stopped = " · stopped" if answer.outcome == "stopped" else ""
            st.caption(literal(f"{answer.model}{stopped}".removeprefix(" · ")))

    def _draw_words(self, turn: Turn, slot: DeltaGenerator) -> None:
        with slot.popover("Say more", type="tertiary", key=f"words-{turn.id}"):
            st.text_area("Why?", key=f"reason-{turn.id}", max_chars=REASON_LIMIT_CHARS, height=80)
            if turn.thumb == "down":
                st.text_area(
                    "What should the answer have been?", key=f"correction-{turn.id}", height=120,
                    max_chars=TEXT_LIMIT_CHARS,
                )  # fmt: skip
            st.button(
                "Send", key=f"say-{turn.id}", on_click=self._rate, args=(turn,),
                kwargs={"words": True},
            )  # fmt: skip

    def _grow(self, slots: dict[str, DeltaGenerator], settled: int) -> None:
        """Shows growing answers until one is finished, or somebody does something."""
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
                    slot.markdown(answer.text + CURSOR if answer.text else waiting)
            time.sleep(REDRAW_S)
