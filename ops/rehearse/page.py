"""The page with all pairs side by side: one file that loads nothing.

Texts of people and models are untrusted: the template escapes every value, and the page forbids
scripts and requests to anywhere.
"""

from pathlib import Path
from typing import Final

from mako.template import Template

from ops.rehearse.figures import Side
from ops.rehearse.judging import Judgement
from ops.rehearse.report import Report

TEMPLATE: Final = Path(__file__).with_name("page.html.mako")
MICRO: Final = 1_000_000

IN_WORDS: Final[dict[Judgement | None, str]] = {
    "new": "new is better",
    "old": "old is better",
    "tie": "equally good",
    "order": "depends on the order",
    "unclear": "no clear verdict",
    None: "not judged",
}


def page_of(report: Report) -> str:
    """The page as HTML."""
    # "h" escapes every value: no filter has to be remembered anywhere in the template.
    template = Template(  # noqa: S702
        TEMPLATE.read_text(), default_filters=["str", "h"], strict_undefined=True
    )
    text: str = template.render(
        report=report,
        in_words=IN_WORDS,
        cost=_cost,
        dollars=_dollars,
        seconds=_seconds,
        percent=_percent,
    )
    return text


def _dollars(microdollars: int | None) -> str:
    return "unknown" if microdollars is None else f"${microdollars / MICRO:.4f}"


def _cost(side: Side) -> str:
    if side.without_cost == side.answers:
        return "unknown"
    more = f", and {side.without_cost} of unknown cost" if side.without_cost else ""
    return f"{_dollars(side.microdollars)}{more}"


def _seconds(milliseconds: int | None) -> str:
    return "unknown" if milliseconds is None else f"{milliseconds / 1000:.1f} s"


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.0%}"
