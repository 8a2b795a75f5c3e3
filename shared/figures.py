"""The figures of a time range, which the recorder computes and the web page shows.

Pure. They hold no words of people, only counts, times and the bot's own notices. A cost that is not
known must never be zero: it is None.
"""

from datetime import datetime, timedelta
from typing import Final, Literal

from pydantic import AwareDatetime, Field

from shared.messages import Message

HOURLY_UNTIL_HOURS: Final = 48
"""Longer ranges are shown by day."""

DAY_HOURS: Final = 24
LONGEST_HOURS: Final = 366 * DAY_HOURS

OTHERS: Final = "(all others)"
"""The key of models and places that are added up because there are too many."""

UNANSWERED: Final = "(no answer)"
"""Instead of a model: it was not asked, or somebody stopped it, or it failed."""

StageName = Literal["stored", "queued", "first token", "complete", "shown"]


class Range(Message):
    """A request: the figures of the last so many hours."""

    v: Literal[1] = 1
    hours: int = Field(ge=1, le=LONGEST_HOURS)

    def since(self, now: datetime) -> datetime:
        """When the range begins."""
        return now - timedelta(hours=self.hours)

    @property
    def by_hour(self) -> bool:
        """Whether buckets are hours; otherwise they are days. Both are those of UTC."""
        return self.hours <= HOURLY_UNTIL_HOURS


class Used(Message):
    """What the answers of a group used, together with the calls for summaries.

    `cost_microdollars` is what is known of the cost, in millionths of a dollar. `of_unknown_cost`
    calls are not in it, because the price of their model or their tokens are not known.
    """

    key: str
    questions: int
    """Questions with an answer of any outcome."""
    input_tokens: int
    output_tokens: int
    cost_microdollars: int | None
    of_unknown_cost: int


class OwnUsage(Message):
    """What one person asked, and what it used. Keys are days such as 2026-11-26, and models."""

    v: Literal[1] = 1
    since: AwareDatetime
    until: AwareDatetime
    total: Used
    by_day: tuple[Used, ...]
    by_model: tuple[Used, ...]


class Messages(Message):
    """The questions of one platform in a bucket.

    `at` is when the bucket begins, in UTC: 2026-11-26 or 2026-11-26T09:00.
    """

    at: str
    platform: str
    messages: int


class People(Message):
    """How many different people of a platform asked something."""

    platform: str
    people: int


class Stage(Message):
    """How long a stage took, in milliseconds: half of the answers were faster than `p50_ms`."""

    name: StageName
    answers: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


class NoticeCount(Message):
    """How many people read this notice instead of an answer. Numbers in it are left out."""

    text: str
    outcome: Literal["failed", "refused"]
    count: int


class Rated(Message):
    """Ratings of a bucket or of a model."""

    key: str
    up: int
    down: int


class Limited(Message):
    """What was used of one limit: tokens, or US dollars."""

    whose: str
    limit: Literal["tokens_per_day", "tokens_per_month", "dollars_per_day", "dollars_per_month"]
    used: float
    of: float


class BudgetUse(Message):
    """The limits that are used most. Counted from recorded answers, without running estimates."""

    limits: tuple[Limited, ...]
    people_unknown: bool
    """Limits of single people are left out, because roles have limits and are not recorded."""


class StreamSize(Message):
    """A stream of NATS. `filled` is the used part of its limit, 0 to 1; 0: it drops old messages.

    `not_recorded` messages are still to be read by the recorder; None: it does not read this one.
    """

    name: str
    messages: int
    size_bytes: int
    filled: float
    not_recorded: int | None = None


class AdapterQueue(Message):
    """How far an adapter is behind.

    `waiting` answers have not been fetched by it, and `in_progress` ones have, but are not shown
    yet. `is_asking`: it is connected, and has asked for answers.
    """

    platform: str
    waiting: int
    in_progress: int
    is_asking: bool


class DeadLetter(Message):
    """A message that could not be read. Its content stays in the stream."""

    sequence: int
    subject: str
    stored_at: AwareDatetime
    size_bytes: int
    reason: str


class ServerFigures(Message):
    """What NATS says now. A part is None if the recorder may not ask for it, or gets no answer."""

    streams: tuple[StreamSize, ...] | None
    adapters: tuple[AdapterQueue, ...] | None
    dead_letters: tuple[DeadLetter, ...] | None
    """The newest ones, newest first."""
    recorder_lag_s: float
    """Age of the oldest message that waits in the recorder; 0: none does."""


class Figures(Message):
    """Everything on the operators' dashboard."""

    v: Literal[1] = 1
    since: AwareDatetime
    until: AwareDatetime
    by_hour: bool
    messages: tuple[Messages, ...]
    people: tuple[People, ...]
    stages: tuple[Stage, ...]
    outcomes: dict[str, int]
    notices: tuple[NoticeCount, ...]
    rated: tuple[Rated, ...]
    rated_by_model: tuple[Rated, ...]
    total: Used
    by_model: tuple[Used, ...]
    by_place: tuple[Used, ...]
    by_day: tuple[Used, ...]
    open_questions: int
    """Questions of the last day without an answer, whatever the range is."""
    oldest_open_s: float | None
    budgets: BudgetUse | None
    """None: there are no budgets."""
    server: ServerFigures
