"""Decides whether a finished answer replaces its preview by a new message, which notifies people.

Pure: no clock, no platform. It must never say yes if the answer notifies people anyway.
"""

from bots.platform import Part


def is_replaced(part: Part, *, shown_for_s: float, after_s: float) -> bool:
    """Whether to post `part` as a new message and remove its preview.

    Completing a preview is an edit, which notifies nobody, and people who have waited for more than
    `after_s` seconds may have left. 0 means never. An answer of several parts ends with new
    messages anyway, and a person who pressed Stop is still there.
    """
    if part.index or part.count > 1 or part.reply.outcome == "stopped":
        return False
    return 0 < after_s <= shown_for_s
