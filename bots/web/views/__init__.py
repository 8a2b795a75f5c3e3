"""The pages, which Streamlit runs in threads: they read memory and send events, nothing else."""

import streamlit as st

from bots.web.current import current
from bots.web.views.chat import chat
from bots.web.views.look import LOGO
from bots.web.views.own_data import own_data
from bots.web.visitor import visitor


def show() -> None:
    """Shows the page that the address names."""
    st.set_page_config("threadwax", LOGO)
    st.logo(LOGO, size="large")
    who = visitor(current().web.settings)
    st.navigation(
        [
            st.Page(lambda: chat(who), title="Chat", icon=":material/forum:", url_path="chat",
                    default=True),
            st.Page(lambda: own_data(who), title="Your data", icon=":material/person:",
                    url_path="data"),
        ],
        position="top",
    ).run()  # fmt: skip
