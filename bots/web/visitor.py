"""Who looks at a page: the account that signed in, or a name in the address on this machine alone.

It must never let a browser that signed out go on as that person, in any of its tabs.
"""

import threading
import time
from dataclasses import dataclass
from typing import Final

import streamlit as st

from bots.web.settings import WebSettings
from shared import names

GUEST: Final = "guest"
NAME: Final = "user"
"""The key of the name in the address and in the session's state."""

NAME_CHARS: Final = 60
OPENED: Final = "opened"
"""The key in a tab's session state of when it was opened."""

_signed_out: dict[str, float] = {}
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person with a page open."""

    user: str
    name: str
    is_operator: bool


def visitor(settings: WebSettings) -> Visitor:
    """The person of this tab. Without one, shows how to sign in, and ends the script."""
    st.session_state.setdefault(OPENED, time.monotonic())
    if settings.oidc_url is None:
        st.session_state.setdefault(NAME, st.query_params.get(NAME) or GUEST)
        name = st.sidebar.text_input("You are", key=NAME, max_chars=NAME_CHARS)
        st.query_params[NAME] = name
        try:
            user = names.user_of("web", name.strip() or GUEST)
        except names.BadName as error:
            st.error(f"This name cannot be used: {error}.")
            st.stop()
        return Visitor(user, name, is_operator=True)
    account = st.user
    subject = str(account.get("sub") or "") if account.is_logged_in else ""
    if not subject or _is_signed_out(subject):
        _sign_in()
        st.stop()
    email = str(account.get("email") or "")
    with st.sidebar:
        st.caption(f"Signed in as {email or subject}")
        st.button(
            "Sign out", icon=":material/logout:", on_click=sign_out, args=(subject,), key="sign-out"
        )
    is_operator = bool({subject, email} - {""} & set(settings.operators))
    return Visitor(names.user_of("web", subject), email or subject, is_operator)


def sign_out(subject: str) -> None:
    """Ends the session of this browser; its other tabs notice it when they next do anything."""
    with _lock:
        _signed_out[subject] = time.monotonic()
    st.logout()


def _is_signed_out(subject: str) -> bool:
    """Whether the person signed out after this tab was opened."""
    with _lock:
        return _signed_out.get(subject, 0.0) > float(st.session_state[OPENED])


def _sign_in() -> None:
    with st.container(
        horizontal_alignment="center", vertical_alignment="center", height=420, border=False
    ):
        st.title("threadwax", width="content", anchor=False)
        st.button(
            "Sign in", icon=":material/login:", type="primary", on_click=st.login, key="sign-in"
        )
