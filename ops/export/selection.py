"""Which turns are exported, and why others are not.

Pure. It must never let through a turn whose person or channel did not allow it. The rules of
consent are the same for every format, because any file can become training data.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from dataflow.model.answer_notes import is_cut_off
from ops.export.turns import History, Turn
from shared.attested import attestation_of, needs_attestation

RatingFilter = Literal["up", "down", "none", "any"]


class LeftOut(StrEnum):
    """Why a turn is not in an export, in words that follow a number."""

    NOT_ATTESTED = "in channels of Slack and Discord without an attestation"
    OPTED_OUT = "of people who do not allow training"
    WORDLESS = "without words: deleted, or nothing was said"
    NOT_ANSWERED = "not answered: stopped, failed or refused"
    WITH_FILES = "about files or quoted messages, which are not exported"
    CUT_OFF = "with an answer that was cut off"
    ASKED_AGAIN = "asked again, and neither rated up nor corrected"
    RATED_DOWN = "rated down without a correction"
    NO_PAIR = "without a second answer to compare: neither corrected, nor rated both up and down"


@dataclass(frozen=True, slots=True)
class Filters:
    """Which turns a person wants; an empty tuple means all.

    A place is a channel's id, or `platform/space/channel` as `threadwax usage --by place` prints
    it. `until` is exclusive.
    """

    since: datetime | None = None
    until: datetime | None = None
    platforms: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    rating: RatingFilter = "any"

    def match(self, turn: Turn) -> bool:
        """Whether a turn is wanted."""
        return (
            (self.since is None or turn.said_at >= self.since)
            and (self.until is None or turn.said_at < self.until)
            and (not self.platforms or turn.platform in self.platforms)
            and (not self.places or not _names_of_place(turn).isdisjoint(self.places))
            and (not self.models or turn.model in self.models)
            and (not self.people or turn.user in self.people)
            and self.rating in ("any", turn.rating.thumb if turn.rating else "none")
        )


@dataclass(frozen=True, slots=True)
class Consent:
    """What the operator attests: by platform and channel, the text of the attestation."""

    attested: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def missing(self, turn: Turn) -> LeftOut | None:
        """Which permission a turn lacks; None if it has all."""
        if needs_attestation(turn.platform) and self.attestation(turn) is None:
            return LeftOut.NOT_ATTESTED
        # People who never decided have not opted out.
        return LeftOut.OPTED_OUT if turn.training_allowed is False else None

    def attestation(self, turn: Turn) -> str | None:
        """The text for the channel of a turn, if there is one."""
        if turn.place is None or turn.place.platform != turn.platform:
            return None
        return attestation_of(turn.platform, turn.place.channel, self.attested)


def unusable(turn: Turn) -> LeftOut | None:
    """Why nothing can be learned from a turn in any way; None if something can."""
    if turn.wordless:
        return LeftOut.WORDLESS
    if turn.outcome != "answered":
        return LeftOut.NOT_ANSWERED
    return LeftOut.WITH_FILES if turn.files or turn.quotes else None


def not_exemplary(history: History, turn: Turn) -> LeftOut | None:
    """Why a model should not learn to give the answer of a turn; None if it should."""
    if why := unusable(turn):
        return why
    if turn.correction:
        return None  # which it learns instead
    if is_cut_off(turn.answer or ""):
        return LeftOut.CUT_OFF
    if turn.rating is not None:
        return LeftOut.RATED_DOWN if turn.rating.thumb == "down" else None
    versions = history.versions(turn)
    newer = versions[versions.index(turn) + 1 :]
    return LeftOut.ASKED_AGAIN if any(unusable(each) is None for each in newer) else None


def _names_of_place(turn: Turn) -> set[str]:
    place = turn.place
    if place is None:
        return set()
    return {place.channel, f"{place.platform}/{place.space}/{place.channel}"}
