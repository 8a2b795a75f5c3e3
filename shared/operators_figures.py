"""The operators' figures, requested from the recorder.

Only the web page's own NATS user may ask: the server's permissions see to that.
"""

from typing import Final

from shared import names
from shared.bus import Bus
from shared.figures import Figures, Range
from shared.pieces import requested

WITHIN_S: Final = 30.0
"""A long time range over many answers takes seconds."""


async def operators_figures(bus: Bus, wanted: Range, *, within_s: float = WITHIN_S) -> Figures:
    """The figures of a range that ends now.

    Raises:
        NotNow: they cannot be read now.
    """
    data = await requested(bus, names.FIGURES_SUBJECT, wanted.wire(), within_s=within_s)
    return Figures.model_validate_json(data)
