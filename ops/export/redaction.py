"""Replaces e-mail addresses, phone and card numbers and the like by their kind, such as <EMAIL>.

Uses the recognizers of Microsoft Presidio that work by patterns and check digits. They need no
language model, so they find no names. It must never use the network.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

MIN_SCORE: Final = 0.4
"""Presidio gives less to what only looks like it, such as any number of nine digits."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a recognizer found: where, and what kind of thing."""

    start: int
    end: int
    kind: str


def redactor() -> Callable[[str], str]:
    """A function that redacts a text; loading it takes a second or two."""
    recognizers = _recognizers()

    def redact(text: str) -> str:
        found = [
            Found(result.start, result.end, result.entity_type)
            for recognizer in recognizers
            for result in recognizer.analyze(text, recognizer.supported_entities, None)
            if result.score >= MIN_SCORE
        ]
        return replaced(text, found)

    return redact


def replaced(text: str, found: Iterable[Found]) -> str:
    """The text with each finding replaced by its kind; of findings that overlap, by the first's.

    The longest comes first if several begin at the same character.
    """
    pieces: list[str] = []
    end = 0
    for each in sorted(found, key=lambda each: (each.start, -each.end, each.kind)):
        if each.start >= end:
            pieces += [text[end : each.start], f"<{each.kind}>"]
        end = max(end, each.end)
    return "".join((*pieces, text[end:]))


def _recognizers() -> list[Any]:
    from presidio_analyzer import predefined_recognizers as predefined
    from tldextract import TLDExtract, tldextract

    # It would download the list of top-level domains; its package has a copy.
    tldextract.TLD_EXTRACTOR = TLDExtract(suffix_list_urls=(), cache_dir=None)
    return [
        predefined.EmailRecognizer(),
        predefined.CreditCardRecognizer(),
        predefined.IbanRecognizer(),
        predefined.PhoneRecognizer(),
        predefined.IpRecognizer(),
        predefined.UrlRecognizer(),
        predefined.CryptoRecognizer(),
    ]
