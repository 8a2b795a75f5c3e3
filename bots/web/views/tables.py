"""Tables as HTML: they wrap long texts, take the page's colours, and need no pandas.

Every text must be escaped: names of models, places and reasons come from other systems.
"""

import html
from collections.abc import Sequence
from typing import Final, NamedTuple

import streamlit as st

BAR: Final = "rgba(224,159,31,.75)"
FULL_BAR: Final = "rgba(190,70,40,.85)"
NEARLY_FULL: Final = 0.9

STYLE: Final = f"""<style>
.rows{{overflow:auto;max-height:27rem;container-type:inline-size}}
.rows table{{width:100%;border-collapse:collapse;font-size:.9rem;
  font-variant-numeric:tabular-nums}}
.rows th{{font-weight:500;opacity:.65}}
.rows th,.rows td{{padding:.4rem .6rem;border-bottom:1px solid rgba(128,128,128,.18);
  text-align:right;vertical-align:top;white-space:nowrap}}
.rows tr:last-child td{{border-bottom:0}}
.rows td.left{{white-space:normal;overflow-wrap:anywhere;min-width:8rem}}
.rows .left{{text-align:left}}
.rows .left:first-child{{padding-left:0}}
.rows td.state{{min-width:0;white-space:nowrap}}
.rows .bar{{width:22%;min-width:3.5rem;padding-top:.7rem}}
.rows .bar div{{height:.6rem;border-radius:.3rem;background:{BAR}}}
.rows .bar .full{{background:{FULL_BAR}}}
@container(max-width:25rem){{.rows .bar{{display:none}}.rows td.left{{min-width:4.5rem}}}}
</style>"""


class Bar(NamedTuple):
    """A cell that shows a share, 0 to 1, as a bar. `warn`: it is red when it is nearly full."""

    share: float
    warn: bool = False


class State(NamedTuple):
    """A cell with a coloured dot before its text."""

    text: str
    color: str


GOOD: Final = "#4b9b5f"
BAD: Final = "#c4472f"
OFF: Final = "#9a948a"

Cell = str | int | Bar | State


def table(
    heads: Sequence[str], rows: Sequence[Sequence[Cell]], *, left: Sequence[int] = ()
) -> None:
    """Draws a table. The first column and those of `left` have texts, the others numbers.

    A narrow table has no room for bars, so each of them needs a column with its number.
    """
    kinds = ["left" if number in {0, *left} else "" for number in range(len(heads))]
    kinds = [
        "bar" if rows and isinstance(rows[0][number], Bar) else kind
        for number, kind in enumerate(kinds)
    ]
    head = "".join(
        f'<th class="{kind}">{html.escape(name)}</th>'
        for kind, name in zip(kinds, heads, strict=True)
    )
    body = "".join(f"<tr>{''.join(map(_cell, row, kinds))}</tr>" for row in rows)
    st.html(f'{STYLE}<div class="rows"><table><tr>{head}</tr>{body}</table></div>')


def _cell(value: Cell, kind: str) -> str:
    if isinstance(value, Bar):
        share = min(1.0, max(0.0, value.share))
        full = "full" if value.warn and share >= NEARLY_FULL else ""
        return f'<td class="bar"><div class="{full}" style="width:{share:.1%}"></div></td>'
    if isinstance(value, State):
        dot = f'<span style="color:{value.color}">&#9679;</span>'
        return f'<td class="{kind} state">{dot} {html.escape(value.text)}</td>'
    text = f"{value:,}" if isinstance(value, int) else html.escape(value)
    return f'<td class="{kind}">{text}</td>'
