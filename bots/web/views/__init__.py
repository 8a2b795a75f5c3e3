"""The pages, which Streamlit runs in threads: they read memory and send events, nothing else."""

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from bots.web.current import current
from bots.web.views.chat import chat
from bots.web.views.look import LOGO
from bots.web.views.own_data import own_data
from bots.web.views.usage import usage
from bots.web.visitor import Visitor, visitor


def show() -> None:
    """Shows the page that the address names."""
    st.set_page_config("threadwax", LOGO)
    st.logo(LOGO, size="large")
    who = visitor(current().web.settings)
    st.navigation(pages(who), position="top").run()


def pages(who: Visitor) -> list[StreamlitPage]:
    """The pages of a person. One that is not in the list does not exist for them."""
    found = [
        st.Page(lambda: chat(who), title="Chat", icon=":material/forum:", url_path="chat",
                default=True),
        st.Page(lambda: usage(who), title="Your usage", icon=":material/bar_chart:",
                url_path="usage"),
        st.Page(lambda: own_data(who), title="Your data", icon=":material/person:",
                url_path="data"),
    ]  # fmt: skip
    if who.is_operator:
        found.append(
            st.Page(_dashboard, title="Dashboard", icon=":material/monitoring:",
                    url_path="dashboard")
        )  # fmt: skip
    return found


def _dashboard() -> None:
    # Only now: its libraries take 110 MB.
    from bots.web.views.dashboard import dashboard  # noqa: PLC0415

    dashboard()
