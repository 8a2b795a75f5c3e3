"""Links with which others read a conversation or one answer: made, shown, listed and revoked.

It must never show a link that is not stored, nor anything for a link that is revoked.
"""

from datetime import UTC, datetime
from typing import Final

import streamlit as st

from bots.web import events
from bots.web.current import current
from bots.web.dollars import with_money
from bots.web.history import turns_in
from bots.web.person import Person
from bots.web.turns import Conversation, Finished, Turn, conversations, shown
from bots.web.views.look import LOGO, STYLE, literal
from bots.web.visitor import Visitor
from shared.own_history import NotNow, shared_turns

SHARED: Final = "shared"
"""The token of a link in the address."""

NEW_LINK: Final = "new-link"
"""The key in the session's state of a link that was just made."""

WITHIN_S: Final = 15.0


def share(user: str, person: Person, conversation: str, prompt_id: str = "") -> None:
    """Makes a link; the next run of the script shows it."""
    token, token_hash = events.new_link()
    made = events.share(user, conversation, token_hash, prompt_id)
    web = current().web
    if why_not := web.send(made).result(WITHIN_S):
        st.toast(why_not, icon=":material/error:")
        return
    person.share(token_hash, next(iter(made.settings.values())))
    st.session_state[NEW_LINK] = f"{web.where}/?{SHARED}={token}"


def show_new_link() -> None:
    """Shows a link that was just made, once."""
    if link := st.session_state.pop(NEW_LINK, None):
        _dialog(link)


@st.dialog("A link to read this")
def _dialog(link: str) -> None:
    st.markdown(
        "Whoever has this link, and may use this page, can read this as it is now, without your "
        "name. It is not shown again. You can revoke it under *Your data*."
    )
    st.code(link, language=None, wrap_lines=True)


def own_links(who: Visitor) -> None:
    """Draws a person's links, each with a button that revokes it."""
    person = current().web.opened(who.user).result(WITHIN_S)
    view = person.view()
    links = {token_hash: target for token_hash, target in view.shares.items() if target}
    titles = {one.id: one for one in conversations(view.turns, view.titles)}
    if not links:
        st.caption("There are none. *Share*, below an answer, makes one.")
    for token_hash, target in links.items():
        with st.container(
            horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"
        ):
            st.markdown(literal(_name_of(target, view.turns, titles)), width="content")
            st.button(
                "Revoke", icon=":material/link_off:", key=f"revoke-{token_hash[:12]}",
                on_click=_revoke, args=(who.user, person, token_hash),
            )  # fmt: skip


def _name_of(target: str, turns: dict[str, Turn], titles: dict[str, Conversation]) -> str:
    conversation, _, prompt_id = target.partition("/")
    if prompt_id:
        question = turns[prompt_id].question if prompt_id in turns else "an older question"
        return f"The answer to: {question}"
    return titles[conversation].title if conversation in titles else "An older conversation"


def _revoke(user: str, person: Person, token_hash: str) -> None:
    if why_not := current().web.send(events.revoke(user, token_hash)).result(WITHIN_S):
        st.toast(why_not, icon=":material/error:")
    else:
        person.share(token_hash, "")


def shared(who: Visitor, token: str) -> None:
    """Shows what a link shows, without its owner's name and without anything to press."""
    here = current()
    found = None
    try:
        if here.web.settings.sharing == "on":
            wanted = shared_turns(here.bus, who.user, events.hash_of(token))
            found = here.web.call(wanted).result(WITHIN_S)
    except NotNow:
        st.warning("This cannot be read now: the recorder does not answer. Try again later.")
        return
    if found is None:
        st.info("This link shows nothing: it was revoked, or what it showed was erased.")
        return
    turns = {turn.id: turn for turn in turns_in(found["entries"], datetime.now(UTC))}
    conversation = next(iter(turns.values())).conversation if turns else ""
    st.html(STYLE)
    if found["title"]:
        st.header(literal(found["title"]), anchor=False)
    st.caption("Shared with you, to read only.")
    for turn in shown(turns, conversation):
        _draw(turn)


def _draw(turn: Turn) -> None:
    with (
        st.container(key=f"asked-{turn.id}"),
        st.chat_message("user", avatar=":material/person:"),
    ):
        st.text(turn.question)
    with st.chat_message("assistant", avatar=LOGO):
        if isinstance(turn.answer, Finished):
            st.markdown(with_money(turn.answer.text))
