"""Finds places to cut a text without breaking what people see as one character.

Pure. It must never look back further than the beginning of a run of flags.
"""

import unicodedata


def grapheme_ends(text: str, at: int) -> bool:
    """Whether a visible character ends before the character at `at`, so that a cut is safe."""
    if not 0 < at < len(text):
        return True
    left, right = text[at - 1], text[at]
    if (left, right) == ("\r", "\n") or left == "\u200d":
        return False
    if unicodedata.category(right) in ("Mn", "Mc", "Me") or right == "\u200d":
        return False
    if "\U0001f3fb" <= right <= "\U0001f3ff" or "\U000e0020" <= right <= "\U000e007f":
        return False  # skin tones, and the tags of regional flags
    if _is_flag_half(left) and _is_flag_half(right):
        first = at - 1
        while first > 0 and _is_flag_half(text[first - 1]):
            first -= 1
        return (at - first) % 2 == 0
    return True


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
