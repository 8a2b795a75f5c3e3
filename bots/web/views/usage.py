"""A person's own usage: questions, tokens and cost, by day and model.

Needs no charts' libraries, which take 110 MB: only the dashboard does.
"""

from typing import Final

import streamlit as st

from bots.web.current import current
from bots.web.views.amounts import count, money, unknown_costs
from bots.web.views.look import time_range
from bots.web.views.use_tables import tokens_of, used_by
from bots.web.visitor import Visitor
from shared.figures import OwnUsage, Range
from shared.own_history import NotNow, own_usage

WITHIN_S: Final = 35.0


def usage(who: Visitor) -> None:
    """Draws the page."""
    with st.container(
        horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"
    ):
        st.header("Your usage", anchor=False, width="content")
        hours = time_range()
    here = current()
    try:
        found = here.web.call(own_usage(here.bus, who.user, Range(hours=hours))).result(WITHIN_S)
    except NotNow:
        st.warning(
            "Your usage cannot be read now: the recorder does not answer. Try again later.",
            icon=":material/cloud_off:",
        )
        return
    if found.total.questions:
        _draw(found)
    else:
        st.info("You asked nothing in this time.", icon=":material/hourglass_empty:")


def _draw(found: OwnUsage) -> None:
    total = found.total
    with st.container(horizontal=True):
        st.metric("Questions", count(total.questions), border=True)
        st.metric("Tokens", count(tokens_of(total)), border=True, help=(
            f"{total.input_tokens:,} read by models, {total.output_tokens:,} written. A token is "
            "about four characters."
        ))  # fmt: skip
        st.metric("Cost, US dollars", money(total), border=True)
    with st.container(border=True):
        st.markdown("**By day** :gray[· tokens, days of UTC]")
        used_by("Day", found.by_day[::-1])
    with st.container(border=True):
        st.markdown("**By model** :gray[· tokens]")
        used_by("Model", found.by_model)
    if why := unknown_costs(total):
        st.caption(why)
