"""Where an operator attests that people's messages may be used for training.

Pure, except that the setting can name a file.
"""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode

from shared.setting_kinds import from_json, text_of_file

UNRESTRICTED: Final = frozenset({"terminal", "web", "gateway"})
"""Platforms of our own, whose only terms are the operator's. All others need an attestation."""

RESTRICTED: Final = frozenset({"slack", "discord"})
"""Platforms whose terms forbid training on messages without permission (docs/export.md)."""


def _checked(attested: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    for platform, places in attested.items():
        if platform not in RESTRICTED:
            raise ValueError(
                "it names a platform other than slack and discord: terminal, web and gateway need "
                "no attestation"
            )
        if not all(channel.strip() and text.strip() for channel, text in places.items()):
            raise ValueError(
                "a channel or its attestation is empty: write for each channel what you attest, "
                'such as "Its members agreed to training on 2026-11-01"'
            )
    return attested


Attested = Annotated[
    dict[str, dict[str, str]],
    NoDecode,
    AfterValidator(_checked),
    BeforeValidator(from_json),
    BeforeValidator(text_of_file),
]
"""A setting: by platform and channel id, the text of what the operator attests."""


def needs_attestation(platform: str) -> bool:
    """Whether messages of a platform are left out of exports unless their channel is attested."""
    return platform not in UNRESTRICTED


def attestation_of(
    platform: str, channel: str, attested: Mapping[str, Mapping[str, str]]
) -> str | None:
    """What is attested for a channel; None if nothing is."""
    return attested.get(platform, {}).get(channel)
