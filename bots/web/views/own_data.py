"""What is stored about a person: get it as a file, decide about training, have it erased."""

from datetime import UTC, datetime
from typing import Final

import streamlit as st

from bots.privacy import EXPLANATION, Choice, confirmation_of, settings_of
from bots.web import events
from bots.web.current import current
from bots.web.views.sharing import own_links
from bots.web.visitor import Visitor
from shared.messages import AnyEvent, Configure, Forget
from shared.own_history import NotNow, file_name, own_history

WITHIN_S: Final = 35.0
FILE: Final = "own-history"


def own_data(who: Visitor) -> None:
    """Draws the page."""
    st.header("Your data", anchor=False)
    st.markdown(EXPLANATION.split(" `/privacy")[0])
    with st.container(border=True):
        st.subheader("Get what is recorded of you", anchor=False)
        if st.button("Prepare the file", icon=":material/description:", key="export"):
            _prepare(who)
        if data := st.session_state.get(FILE):
            st.download_button(
                "Download", data, file_name(datetime.now(UTC)), "text/markdown",
                icon=":material/download:", key="download",
            )  # fmt: skip
    with st.container(border=True):
        st.subheader("Training of language models", anchor=False)
        with st.container(horizontal=True):
            st.button("Forbid", key="forbid", on_click=_decide, args=(who, "no"))
            st.button("Allow", key="allow", on_click=_decide, args=(who, "yes"))
    if current().links_accounts:
        with st.container(border=True):
            st.subheader("Your accounts elsewhere", anchor=False)
            st.markdown(
                "Ask me `link accounts` in the chat, and I recall here what you said to me in "
                "other apps, and there what you said here. `unlink accounts` ends that."
            )
    if current().web.settings.sharing == "on":
        with st.container(border=True):
            st.subheader("Links that you shared", anchor=False)
            own_links(who)
    with st.container(border=True):
        st.subheader("Erase everything", anchor=False)
        st.markdown(
            "Your questions, the answers, files and ratings are erased. This cannot be undone."
        )
        sure = st.checkbox("I want everything about me to be erased.", key="sure")
        st.button(
            "Erase everything", type="primary", icon=":material/delete_forever:", key="forget",
            disabled=not sure, on_click=_forget, args=(who,),
        )  # fmt: skip


def _prepare(who: Visitor) -> None:
    here = current()
    try:
        data = here.web.call(own_history(here.bus, who.user)).result(WITHIN_S)
    except NotNow:
        st.error("Your data cannot be read now: the recorder does not answer. Try again later.")
        return
    if data:
        st.session_state[FILE] = data
    else:
        st.info("Nothing is recorded of you.")


def _decide(who: Visitor, choice: Choice) -> None:
    event = events.event(Configure, who.user, "", settings=settings_of(choice))
    _send(event, confirmation_of(choice))


def _forget(who: Visitor) -> None:
    st.session_state.pop(FILE, None)
    _send(
        events.event(Forget, who.user, ""),
        "Everything about you is being erased. Your conversations disappear when that is done.",
    )


def _send(event: AnyEvent, done: str) -> None:
    why_not = current().web.send(event).result(WITHIN_S)
    st.toast(why_not or done, icon=":material/error:" if why_not else ":material/check:")
