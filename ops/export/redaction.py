"""Finds e-mail addresses, phone and card numbers and the like, for `threadwax export --redact`.

Uses the recognizers of Microsoft Presidio that work by patterns and check digits. They need no
language model, so they find no names. It must never use the network.
"""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, Final

from ops.export.redacted import Found, Redaction

PACKAGE: Final = "presidio-analyzer"

MIN_SCORE: Final = 0.4
"""Presidio gives less to what only looks like it, such as any number of nine digits."""

MIN_URL_SCORE: Final = 0.6
"""Presidio gives less to addresses without a scheme. Any file name could be one: main.py."""


def redaction() -> Redaction:
    """Loads the recognizers, which takes some seconds."""
    recognizers = _recognizers()

    def find(text: str) -> Iterator[Found]:
        for recognizer in recognizers:
            for result in recognizer.analyze(text, recognizer.supported_entities, None):
                if result.score >= MIN_SCORE:
                    yield Found(result.start, result.end, result.entity_type)

    kinds = sorted({kind for each in recognizers for kind in each.supported_entities})
    return Redaction(find, tuple(kinds), f"{PACKAGE} {version(PACKAGE)}")


def _recognizers() -> list[Any]:
    from presidio_analyzer import predefined_recognizers as predefined
    from tldextract import TLDExtract, tldextract

    # By default it downloads the list of top-level domains, although its package has a copy.
    tldextract.TLD_EXTRACTOR = TLDExtract(suffix_list_urls=(), cache_dir=None)
    with_scheme = [
        each for each in predefined.UrlRecognizer.PATTERNS if each.score >= MIN_URL_SCORE
    ]
    return [
        predefined.CreditCardRecognizer(),
        predefined.CryptoRecognizer(),
        predefined.EmailRecognizer(),
        predefined.IbanRecognizer(),
        predefined.IpRecognizer(),
        predefined.MacAddressRecognizer(),
        predefined.PhoneRecognizer(),
        predefined.UrlRecognizer(patterns=with_scheme),
        predefined.UsSsnRecognizer(),
    ]
