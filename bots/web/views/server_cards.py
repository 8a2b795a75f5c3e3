"""What the dashboard shows of NATS and the recorder, as of now. Imported only when it is opened."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import streamlit as st

from bots.web.current import current
from bots.web.views.amounts import age, count, size
from bots.web.views.tables import BAD, GOOD, OFF, Bar, Cell, State, table
from shared.dead_letters import replay, why_not
from shared.figures import AdapterQueue, DeadLetter, ServerFigures, StreamSize

NAMES: Final = {
    "PROMPTS": "Questions",
    "REPLIES": "Answers",
    "KV_RECEIPTS": "Receipts",
    "BLOBS": "Files",
    "DLQ": "Dead letters",
}

UNAVAILABLE: Final = (
    "Not available: NATS does not answer the recorder, or does not allow it to ask. "
    "docs/recorder.md has the permissions."
)

PUBLISHED_WITHIN_S: Final = 15.0
BEHIND_S: Final = 60.0
"""A recorder that is further behind is named."""


def server_cards(server: ServerFigures, now: datetime) -> None:
    """Adapters, streams and dead letters."""
    left, right = st.columns([2, 3])
    with left.container(border=True, height="stretch"):
        st.markdown("**Chat platforms now** :gray[· answers]")
        _adapters(server)
    with right.container(border=True, height="stretch"):
        st.markdown("**Stores of messages now** :gray[· messages kept on NATS]")
        _streams(server)
    with st.container(border=True):
        st.markdown("**Dead letters** :gray[· the newest messages that could not be read]")
        _dead_letters(server, now)


def _adapters(server: ServerFigures) -> None:
    if server.adapters is None:
        st.caption(UNAVAILABLE)
        return
    table(
        ("Platform", "State", "Waiting", "Being shown"),
        [(one.platform, _state(one), one.waiting, one.in_progress) for one in server.adapters],
        left=(1,),
    )


def _state(queue: AdapterQueue) -> State:
    if queue.is_asking:
        return State("running", GOOD)
    if queue.waiting or queue.in_progress:
        return State("not running", BAD)
    return State("off", OFF)


def _streams(server: ServerFigures) -> None:
    if server.streams is None:
        st.caption(UNAVAILABLE)
    else:
        heads = ("Store", "Messages", "Size", "Full", "", "Not recorded yet")
        table(heads, [_stream(one) for one in server.streams])
    if server.recorder_lag_s > BEHIND_S:
        st.warning(
            f"The recorder is {age(server.recorder_lag_s)} behind, so the figures above are, too."
        )


def _stream(one: StreamSize) -> Sequence[Cell]:
    behind = "" if one.not_recorded is None else count(one.not_recorded)
    return (
        NAMES.get(one.name, one.name), count(one.messages), size(one.size_bytes),
        f"{one.filled:.0%}", Bar(one.filled, warn=True), behind,
    )  # fmt: skip


def _dead_letters(server: ServerFigures, now: datetime) -> None:
    if server.dead_letters is None:
        st.caption(UNAVAILABLE)
    elif not server.dead_letters:
        st.caption("None.")
    else:
        rows = [_dead_letter(one, now) for one in server.dead_letters]
        table(("Subject", "Reason", "Size", "Stored", "Number"), rows, left=(1,))
        _replaying([one.sequence for one in server.dead_letters if why_not(one.subject) is None])


def _replaying(numbers: Sequence[int]) -> None:
    if not numbers:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox("Number", numbers, key="dead-letter", width=160)
        st.button(
            "Replay", icon=":material/replay:", key="replay", on_click=_replay, args=(chosen,),
            help="Has it read or shown once more, for example after an upgrade",
        )  # fmt: skip


def _replay(sequence: int) -> None:
    here = current()
    st.toast(here.web.call(replay(here.bus, sequence)).result(PUBLISHED_WITHIN_S).text)


def _dead_letter(one: DeadLetter, now: datetime) -> Sequence[Cell]:
    ago = f"{age((now - one.stored_at).total_seconds())} ago"
    return one.subject, one.reason, size(one.size_bytes), ago, one.sequence
