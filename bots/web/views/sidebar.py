"""The list of a person's conversations: open, begin, rename and delete them."""

from collections.abc import Callable
from typing import Final

import streamlit as st

from bots.web import events
from bots.web.current import current
from bots.web.person import Person
from bots.web.turns import TITLE_CHARS, Conversation
from bots.web.views.look import literal
from bots.web.views.sharing import share
from bots.web.visitor import Visitor
from shared.messages import TITLE, Configure, Deleted

LISTED: Final = 30
"""More conversations are shown on demand."""

PUBLISHED_WITHIN_S: Final = 15.0


def sidebar(
    who: Visitor,
    person: Person,
    listed: list[Conversation],
    opened: str,
    on_open: Callable[[str], None],
) -> None:
    """Draws the list; `on_open` is called with the conversation that somebody chose."""
    with st.sidebar:
        st.button(
            "New conversation", icon=":material/edit_square:", width="stretch", key="new",
            on_click=lambda: on_open(events.new_conversation()),
        )  # fmt: skip
        shown = listed if st.session_state.get("all") else listed[:LISTED]
        for conversation in shown:
            _entry(who, person, conversation, opened, on_open)
        if len(listed) > len(shown):
            st.checkbox(f"All {len(listed)} conversations", key="all")


def _entry(
    who: Visitor,
    person: Person,
    conversation: Conversation,
    opened: str,
    on_open: Callable[[str], None],
) -> None:
    is_open = conversation.id == opened
    with st.container(horizontal=True, vertical_alignment="center", gap=None):
        st.button(
            literal(conversation.title), key=f"open-{conversation.id}", width="stretch",
            type="secondary" if is_open else "tertiary",
            on_click=on_open, args=(conversation.id,),
        )  # fmt: skip
        if not is_open:
            return
        with st.popover("More", type="tertiary", key="conversation"):
            st.text_input(
                "Title", conversation.title, key=f"title-{conversation.id}", max_chars=TITLE_CHARS,
                on_change=_rename, args=(who, person, conversation),
            )  # fmt: skip
            if current().web.settings.sharing == "on":
                st.button(
                    "Share this conversation", icon=":material/share:", key="share",
                    on_click=share, args=(who.user, person, conversation.id),
                )  # fmt: skip
            st.button(
                "Delete this conversation", icon=":material/delete:", key="delete",
                on_click=_delete, args=(who, person, conversation, on_open),
            )  # fmt: skip


def _rename(who: Visitor, person: Person, conversation: Conversation) -> None:
    title = " ".join(str(st.session_state[f"title-{conversation.id}"]).split())
    named = events.event(
        Configure, who.user, conversation.id, settings={f"{TITLE}{conversation.id}": title}
    )
    if why_not := current().web.send(named).result(PUBLISHED_WITHIN_S):
        st.toast(why_not, icon=":material/error:")
    else:
        person.rename(conversation.id, title)


def _delete(
    who: Visitor, person: Person, conversation: Conversation, on_open: Callable[[str], None]
) -> None:
    web = current().web
    turns = person.view().turns.values()
    deleted = [turn.id for turn in turns if turn.conversation == conversation.id]
    for prompt_id in deleted:
        event = events.event(Deleted, who.user, conversation.id, prompt_id=prompt_id)
        if why_not := web.send(event).result(PUBLISHED_WITHIN_S):
            st.toast(why_not, icon=":material/error:")
            return
        person.drop([prompt_id])
    on_open(events.new_conversation())
