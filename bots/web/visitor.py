"""Who looks at a page: the account that signed in, or a name in the address on this machine alone.

It must never let a browser that signed out go on as that person, in any of its tabs.
"""

import hashlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import streamlit as st

from bots.web.settings import WebSettings
from shared import user_names
from shared.recent import RecentMap

GUEST: Final = "guest"
NAME: Final = "user"
"""The key of the name in the address and in the session's state."""

NAME_CHARS: Final = 60
OPENED: Final = "opened"
"""The key in a tab's session state of when it was opened."""

SIGNED_OUT_LIMIT: Final = 10_000

_signed_out: RecentMap[str, float] = RecentMap(SIGNED_OUT_LIMIT)
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person with a page open, since `opened` of the monotonic clock."""

    user: str
    name: str
    is_operator: bool
    opened: float

    @property
    def is_gone(self) -> bool:
        """Whether the person signed out after this tab was opened."""
        with _lock:
            return _signed_out.get(self.user, 0.0) > self.opened


def visitor(settings: WebSettings) -> Visitor:
    """The person of this tab. Without one, shows how to sign in, and ends the script."""
    opened = float(st.session_state.setdefault(OPENED, time.monotonic()))
    if settings.oidc_url is None:
        return _by_name(opened)
    account: Mapping[str, Any] = st.user.to_dict() if st.user.is_logged_in else {}
    if not account.get("sub"):
        _sign_in()
        st.stop()
    found = _by_account(account, settings, opened)
    if found.is_gone:
        _sign_in()
        st.stop()
    with st.sidebar:
        st.text(f"Signed in as {found.name}")
        st.button(
            "Sign out", icon=":material/logout:", on_click=sign_out, args=(found,), key="sign-out"
        )
    if not _is_admitted(account, settings):
        st.error("This account may not use this page. Ask whoever runs it, or sign out.")
        st.stop()
    return found


def _by_name(opened: float) -> Visitor:
    st.session_state.setdefault(NAME, st.query_params.get(NAME) or GUEST)
    name = st.sidebar.text_input("You are", key=NAME, max_chars=NAME_CHARS)
    st.query_params[NAME] = name
    try:
        user = user_names.user_of("web", name.strip() or GUEST)
    except user_names.BadName as error:
        st.error(f"This name cannot be used: {error}.")
        st.stop()
    return Visitor(user, name, is_operator=True, opened=opened)


def _by_account(account: Mapping[str, Any], settings: WebSettings, opened: float) -> Visitor:
    ids = ids_of(account)
    is_operator = bool(ids & set(settings.operators))
    name = str(account.get("email") or account.get("name") or account["sub"])
    return Visitor(user_of_subject(str(account["sub"])), name, is_operator, opened)


def _is_admitted(account: Mapping[str, Any], settings: WebSettings) -> bool:
    ids = ids_of(account)
    domains = {f"@{one.rpartition('@')[2]}" for one in ids if "@" in one}
    allowed = {*settings.allow_users, *settings.operators}
    return not settings.allow_users or bool((ids | domains) & allowed)


def ids_of(account: Mapping[str, Any]) -> set[str]:
    """What settings may name an account by: its subject, and its address if that is verified.

    Anybody can claim an address that the provider has not verified.
    """
    ids = {str(account["sub"])}
    if account.get("email") and account.get("email_verified") is True:
        ids.add(str(account["email"]).lower())
    return ids


def user_of_subject(subject: str) -> str:
    """The user of an account; one whose subject is too long for a name gets its hash."""
    try:
        return user_names.user_of("web", subject)
    except user_names.BadName:
        return user_names.user_of("web", f"sha256-{hashlib.sha256(subject.encode()).hexdigest()}")


def sign_out(who: Visitor) -> None:
    """Ends the session of this browser; all open tabs of the person notice it."""
    with _lock:
        _signed_out[who.user] = time.monotonic()
    st.logout()


def _sign_in() -> None:
    with st.container(
        horizontal_alignment="center", vertical_alignment="center", height=420, border=False
    ):
        st.title("threadwax", width="content", anchor=False)
        st.button(
            "Sign in", icon=":material/login:", type="primary", on_click=st.login, key="sign-in"
        )
