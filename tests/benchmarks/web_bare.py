"""The shortest Streamlit page with a growing answer, for `streamlit run`.

In the environment, `RATE`: words per second. `TABS`: all answers begin once so many tabs are open.
"""

import itertools
import os
import time
from collections.abc import Iterator

import streamlit as st

RATE = float(os.environ["RATE"])
TABS = int(os.environ["TABS"])
POLL_S = 0.2


@st.cache_resource
def tabs() -> list[None]:
    """One entry for each tab."""
    return []


def words() -> Iterator[str]:
    """A text that never ends."""
    tabs().append(None)
    while len(tabs()) < TABS:
        time.sleep(POLL_S)
    for number in itertools.count():
        yield f"word{number} "
        time.sleep(1 / RATE)


st.write_stream(words)
