"""When a finished answer is posted as a new message instead of an edit of its preview.

Pure: no clock. An edit gives no notification and no unread mark, so people who went away while an
answer grew would not notice its end.
"""


def needs_new_message(shown_for_s: float, after_s: float) -> bool:
    """Whether a preview was shown long enough to be replaced; `after_s` = 0: never."""
    return 0 < after_s <= shown_for_s
