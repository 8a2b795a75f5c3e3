"""Amounts as people read them: money, times, sizes and counts. Pure.

A cost that is not known must never be shown as zero.
"""

from typing import Final

from shared.figures import Used

MICRO: Final = 1_000_000
CENT_MICRO: Final = 10_000
SMALLEST_DOLLARS: Final = 0.0001
SECOND_MS: Final = 1000
MINUTE_S: Final = 60
HOUR_S: Final = 3600
DAY_S: Final = 86_400
TEN: Final = 10
THOUSAND: Final = 1000
ROUNDED_UP: Final = 999.5

NOT_KNOWN: Final = "not known"


def money(used: Used) -> str:
    """The cost in US dollars; `+` if some calls are not in it."""
    if used.cost_microdollars is None:
        return NOT_KNOWN
    more = "+" if used.of_unknown_cost else ""
    return f"{dollars(used.cost_microdollars / MICRO)}{more}"


def dollars(amount: float) -> str:
    """US dollars, to the cent; small amounts to a hundredth of a cent."""
    if 0 < amount < SMALLEST_DOLLARS:
        return f"< ${SMALLEST_DOLLARS}"
    digits = 4 if 0 < amount < CENT_MICRO / MICRO else 2
    return f"${amount:,.{digits}f}"


def milliseconds(ms: float) -> str:
    """A time that a stage took."""
    if ms < SECOND_MS:
        return f"{ms:.0f} ms"
    seconds = ms / SECOND_MS
    return f"{seconds:.1f} s" if seconds < MINUTE_S else age(seconds)


def age(seconds: float) -> str:
    """A longer time, in its two largest units at most."""
    if seconds < MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < HOUR_S:
        return f"{seconds / MINUTE_S:.0f} min"
    if seconds < DAY_S:
        return f"{seconds // HOUR_S:.0f} h {seconds % HOUR_S // MINUTE_S:.0f} min"
    return f"{seconds // DAY_S:.0f} d {seconds % DAY_S // HOUR_S:.0f} h"


def count(number: float) -> str:
    """A count: exact up to 9,999, then 12.3k, 4.5M."""
    if number < TEN * THOUSAND:
        return f"{number:,.0f}"
    # As it is rounded: 999,999 is 1.0M.
    power = 1 if number < ROUNDED_UP * THOUSAND else 2 if number < ROUNDED_UP * THOUSAND**2 else 3
    shown = number / THOUSAND**power
    digits = 0 if shown >= TEN * TEN else 1
    return f"{shown:.{digits}f}{' kMG'[power]}"


def size(number: float) -> str:
    """A number of bytes."""
    for unit in ("B", "kB", "MB"):
        if number < THOUSAND:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= THOUSAND
    return f"{number:.1f} GB"


def unknown_costs(used: Used) -> str:
    """Why some calls are not in the cost; empty if all are."""
    calls = used.of_unknown_cost
    if not calls:
        return ""
    are = "call is" if calls == 1 else "calls are"
    return (
        f"{calls:,} {are} not in the cost, because the price of the model or the number of "
        "tokens is not known."
    )
