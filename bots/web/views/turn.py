"""One turn of a conversation: a question, its answer, and what its owner can do with them."""

from dataclasses import replace
from typing import Final

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from bots.web import events
from bots.web.current import current
from bots.web.dollars import with_money
from bots.web.person import Person
from bots.web.turns import Finished, Growing, Thumb, Turn, Unsent
from bots.web.views.look import LOGO, literal
from bots.web.views.sharing import share
from bots.web.visitor import Visitor
from shared.messages import REASON_LIMIT_CHARS, TEXT_LIMIT_CHARS, Again, Edited, Rate, Stop

PUBLISHED_WITHIN_S: Final = 35.0

EDITING: Final = "editing"
"""The key in the session's state of the turn whose question is being edited."""

THUMBS: Final[dict[int | None, Thumb]] = {1: "up", 0: "down", None: "none"}


class TurnView:
    """Draws turns of one person."""

    def __init__(self, who: Visitor, person: Person) -> None:
        self._user = who.user
        self._person = person
        self._web = current().web

    # --- what people do ------------------------------------------------------------------------

    def _ask_in_place_of(self, turn: Turn, asked: Again | Edited) -> None:
        made = events.turn_in_place_of(turn, asked)
        self._person.put(made)
        self._web.ask(made, asked)

    def _again(self, turn: Turn) -> None:
        asked = events.event(Again, self._user, turn.conversation, prompt_id=turn.id)
        self._ask_in_place_of(turn, asked)

    def _edit(self, turn: Turn) -> None:
        st.session_state.pop(EDITING, None)
        text = str(st.session_state.get(f"edited-{turn.id}") or "")
        if not text.strip() or text == turn.question:
            return
        asked = events.event(
            Edited, self._user, turn.conversation, prompt_id=turn.id, text=text, ask_again=True
        )
        self._ask_in_place_of(turn, asked)

    def _stop(self, turn: Turn) -> None:
        self._web.send(events.event(Stop, self._user, turn.conversation, prompt_id=turn.id))

    def _rate(self, turn: Turn, *, words: bool = False) -> None:
        thumb = THUMBS[st.session_state[f"thumb-{turn.id}"]]
        said = {}
        if words:
            said = {
                name: str(st.session_state.get(f"{name}-{turn.id}") or "")
                for name in ("reason", "correction")
            }
        rated = events.event(
            Rate, self._user, turn.conversation, prompt_id=turn.id, thumb=thumb, **said
        )
        why_not = self._web.send(rated).result(PUBLISHED_WITHIN_S)
        if why_not:
            st.toast(why_not, icon=":material/error:")
        else:
            self._person.put(replace(turn, thumb=thumb))
            if words:
                st.toast("Thank you. It is noted.", icon=":material/check:")

    # --- what people see -----------------------------------------------------------------------

    def draw(self, turn: Turn, *, last: bool) -> DeltaGenerator | None:
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
                    st.empty()
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
            st.markdown(with_money(answer.text) or ":gray[(stopped)]")
        else:
            st.warning(literal(answer.text))
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            rating, words, again, sharing = st.empty(), st.empty(), st.empty(), st.empty()
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
            if self._web.settings.sharing == "on":
                sharing.button(
                    "Share", icon=":material/share:", type="tertiary",
                    help="Make a link with which others can read this answer",
                    key=f"share-{turn.id}", on_click=share,
                    args=(self._user, self._person, turn.conversation, turn.id),
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
