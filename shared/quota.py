"""How much one user may store: a share that becomes free again over a day.

Pure: the clock is passed in, and memory is bounded. It must never count one user's messages against
another's share. It lives in the process that publishes, so a restart gives everybody a full share.
"""

from collections import OrderedDict
from typing import Final

DAY_S: Final = 24 * 60 * 60
KIB: Final = 1 << 10
MIB: Final = 1 << 20

EVENT_QUOTA_BYTES: Final = 16 * MIB
"""Events of one user: an eighth of the stream of events, which holds a week and one share more."""

EVENT_AT_LEAST_BYTES: Final = 4 * KIB
"""A short question counts as this much, because its answer takes room too: 4096 a day."""

RESERVE_BYTES: Final = MIB
RESERVE_AT_LEAST_BYTES: Final = KIB
"""A share apart for events that take something back: 1024 a day, however much was asked."""

BLOB_QUOTA_BYTES: Final = 32 * MIB
"""Files of one user: at most a quarter of the stream of files."""

DEAD_LETTER_QUOTA_BYTES: Final = 2 * MIB
"""Dead letters of one user that are kept whole; of later ones only the beginning is."""

KEPT_DAYS: Final = 7
EVENTS_OF_A_USER: Final = (1 + KEPT_DAYS) * (
    EVENT_QUOTA_BYTES // EVENT_AT_LEAST_BYTES + RESERVE_BYTES // RESERVE_AT_LEAST_BYTES
)
"""As many events as these shares allow within the days that the stream keeps them: the server's own
limit, which also holds across restarts and several processes."""

HOLDERS_LIMIT: Final = 10_000
"""Users whose use is remembered, in some 2 MB. Of more, those who stored nothing for the longest
time are forgotten, and have a full share again."""


class Quotas:
    """What each holder has used of an equal share."""

    def __init__(
        self, share: int, *, refill_s: float = DAY_S, holders_limit: int = HOLDERS_LIMIT
    ) -> None:
        """`share` in any unit; what was taken is free again evenly, all of it after `refill_s`."""
        self._share = share
        self._per_s = share / refill_s
        self._holders_limit = holders_limit
        self._used: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """What a holder had used, and when that was; the most recent last."""

    def __len__(self) -> int:
        """Holders that are remembered."""
        return len(self._used)

    def take(self, holder: str, amount: int, now: float) -> bool:
        """Takes this much of the share; False, and takes nothing, if that much is not left."""
        used = self._used_by(holder, now) + amount
        if used > self._share:
            return False
        self._keep(holder, used, now)
        return True

    def give_back(self, holder: str, amount: int, now: float) -> None:
        """Undoes a `take` of what was not stored after all."""
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
