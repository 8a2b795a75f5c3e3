"""Limits how much one user may store: a quota that becomes free again over a day.

Pure: the clock is passed in, and memory is bounded. It must never count one user's messages against
another's quota. The publishing process holds it, so a restart resets all quotas.
"""

from collections import OrderedDict
from typing import Final

DAY_S: Final = 24 * 60 * 60
KIB: Final = 1 << 10
MIB: Final = 1 << 20

EVENT_QUOTA_BYTES: Final = 16 * MIB
"""Events of one user. A week and a day of them fill an eighth of the prompt stream."""

EVENT_MIN_BYTES: Final = 4 * KIB
"""A shorter question counts as this much, because of its answer: at most 4096 per day."""

RESERVE_BYTES: Final = MIB
RESERVE_MIN_BYTES: Final = KIB
"""A separate quota for events such as Stop and Deleted: at most 1024 per day."""

BLOB_QUOTA_BYTES: Final = 32 * MIB
"""Files of one user. A week and a day of them fill a quarter of the blob stream."""

DEAD_LETTER_QUOTA_BYTES: Final = 2 * MIB
"""Dead letters of one user that are kept whole; later ones are cut."""

KEPT_DAYS: Final = 7
EVENTS_OF_A_USER: Final = (1 + KEPT_DAYS) * (
    EVENT_QUOTA_BYTES // EVENT_MIN_BYTES + RESERVE_BYTES // RESERVE_MIN_BYTES
)
"""The most events that these quotas allow within the retention time of the stream.

The server enforces this limit, too, across restarts and several processes.
"""

HOLDERS_LIMIT: Final = 10_000
"""Users who are remembered, in some 2 MB. Those who have been idle longest are forgotten first."""


class Quotas:
    """How much of its quota each holder has used; all quotas are equal."""

    def __init__(
        self, quota: int, *, refill_s: float = DAY_S, holders_limit: int = HOLDERS_LIMIT
    ) -> None:
        """`quota` is in any unit; it refills evenly, completely within `refill_s` seconds."""
        self._quota = quota
        self._per_s = quota / refill_s
        self._holders_limit = holders_limit
        self._used: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """What each holder had used, and when; the most recent last."""

    def __len__(self) -> int:
        """The number of holders that are remembered."""
        return len(self._used)

    def take(self, holder: str, amount: int, now: float) -> bool:
        """Uses this much of the quota; returns False, and uses nothing, if less is left."""
        used = self._used_by(holder, now) + amount
        if used > self._quota:
            return False
        self._keep(holder, used, now)
        return True

    def give_back(self, holder: str, amount: int, now: float) -> None:
        """Undoes `take` for something that was not stored after all."""
        self._keep(holder, self._used_by(holder, now) - amount, now)

    def _used_by(self, holder: str, now: float) -> float:
        used, at = self._used.get(holder, (0.0, now))
        return max(0.0, used - (now - at) * self._per_s)

    def _keep(self, holder: str, used: float, now: float) -> None:
        self._used.pop(holder, None)
        if used > 0:
            self._used[holder] = (used, now)
        while self._used and (
            len(self._used) > self._holders_limit or not self._used_by(next(iter(self._used)), now)
        ):
            self._used.popitem(last=False)
