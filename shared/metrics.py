"""The Prometheus metrics of all processes.

`docs/metrics.md` lists them; a test compares the two. A label must never hold what people wrote, or
who they are. Gauges of live state are read when Prometheus asks, so they cost nothing otherwise.
"""

from collections.abc import Callable
from typing import Any

from prometheus_client import REGISTRY, Counter, Gauge, Histogram

from shared.replies import Usage

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_WAITS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)


class OwnGauge(Gauge):
    """A gauge without labels that only the processes export that measure it.

    Otherwise each of the others would report 0: a database that is away, for example.
    """

    def __init__(self, name: str, documentation: str) -> None:
        super().__init__(name, documentation, registry=None)
        self._exported = False

    def set(self, value: float) -> None:
        """Sets the value."""
        self._export()
        super().set(value)

    def set_function(self, f: Callable[[], Any]) -> None:
        """Has the value read whenever Prometheus asks."""
        self._export()
        super().set_function(f)

    def _export(self) -> None:
        if not self._exported:
            self._exported = True
            REGISTRY.register(self)


# --- every process ---------------------------------------------------------------------------

ready = OwnGauge("threadwax_ready", "1 while /readyz succeeds: messages are accepted and answered")
connected = OwnGauge("threadwax_nats_connected", "1 while NATS answers")
disk_free = OwnGauge("threadwax_disk_free_bytes", "Free space on the disk of the data folder")

# --- adapters: a question is stored ----------------------------------------------------------

published = Counter("threadwax_published", "Events stored by adapters", ["platform", "kind"])
published_before = Counter(
    "threadwax_published_before",
    "Second copies prevented: NATS had stored this event already",
    ["platform"],
)
publish_failed = Counter(
    "threadwax_publish_failed", "Events that were not stored", ["platform", "why"]
)
publish_s = Histogram(
    "threadwax_publish_seconds",
    "An adapter's event to its place on the disk of NATS, with retries",
    ["platform"],
    buckets=_SECONDS,
)
store_s = Histogram(
    "threadwax_store_seconds",
    "One message to the acknowledgement by NATS",
    ["stream"],
    buckets=_SECONDS,
)
store_failed = Counter(
    "threadwax_store_failed",
    "Messages that NATS refused or did not acknowledge; most are sent again",
    ["stream", "why"],
)

# --- the dataflow: a question waits, and is answered -----------------------------------------

pending = OwnGauge("threadwax_pending", "Questions that wait or are being answered")
oldest_pending_s = OwnGauge(
    "threadwax_oldest_pending_seconds",
    "Time since the oldest question was asked that waits or is being answered; 0: there is none",
)
wait_s = Histogram(
    "threadwax_wait_seconds", "Question asked to its first model call", buckets=_WAITS
)
in_flight = OwnGauge("threadwax_in_flight", "Answers in progress")
first_token_s = Histogram(
    "threadwax_first_token_seconds", "Model call to its first text", buckets=_SECONDS
)
model_call_s = Histogram(
    "threadwax_model_call_seconds",
    "Model call to the end of its answer, with retries; calls that fail are not included",
    buckets=_SECONDS,
)
model_failed = Counter("threadwax_model_failed", "Model calls without an answer", ["why"])
model_retries = Counter("threadwax_model_retries", "Model calls retried", ["why"])
model_failing_s = OwnGauge(
    "threadwax_model_failing_seconds",
    "How long every call of the model has failed; 0: the last one succeeded, or none was made",
)
journal_s = Histogram(
    "threadwax_journal_seconds", "Reply to its place in the journal, with retries", buckets=_SECONDS
)
journal_filled = OwnGauge("threadwax_journal_filled", "Used fraction of the journal's limit")
answered = Counter("threadwax_answered", "Replies journaled", ["platform", "outcome"])
answered_before = Counter(
    "threadwax_answered_before", "Second answers prevented: the journal had one already"
)
answer_s = Histogram("threadwax_answer_seconds", "Model call to journaled reply", buckets=_SECONDS)
unreadable = Counter("threadwax_unreadable", "Messages moved to the dead letters")
in_memory = OwnGauge("threadwax_conversations_in_memory", "Conversations in memory")
restored = Counter("threadwax_conversations_restored", "Stored conversations read back")
handed_over = Counter(
    "threadwax_handed_over",
    "Replies given to the process of this adapter that has begun to show them",
    ["platform"],
)
taken_over = Counter(
    "threadwax_taken_over",
    "Replies taken from a process of this adapter that does not answer",
    ["platform"],
)
duplicates_prevented = Counter(
    "threadwax_duplicates_prevented",
    "What another process of this adapter had stored or shown already",
    ["platform", "what"],
)
lease_held = Gauge("threadwax_lease_held", "1 while this process may run, 0 on standby", ["name"])
partitions_held = OwnGauge("threadwax_partitions_held", "Partitions that this process serves")
share_changes = Counter(
    "threadwax_share_changes",
    "Partitions that this process claimed, released, or lost to another process",
    ["change"],
)

# --- what the model is asked, and what it costs ----------------------------------------------

thought_chars = Counter("threadwax_thought_chars", "Characters of reasoning, which is not shown")
tokens = Counter("threadwax_tokens", "Tokens of answers as the model counted them", ["direction"])
background_tokens = Counter(
    "threadwax_background_tokens", "Tokens of calls that answer no question", ["direction"]
)
summaries = Counter("threadwax_summaries", "Summaries of older turns", ["outcome"])
budget_nearly_used = Counter(
    "threadwax_budget_nearly_used", "Budgets of which 80 % are used", ["scope", "limit"]
)
budget_refused = Counter(
    "threadwax_budget_refused", "Questions that a budget refused", ["scope", "limit"]
)

# --- adapters: a reply is shown --------------------------------------------------------------

posted = Counter("threadwax_posted", "Parts of replies shown to people", ["platform"])
posted_before = Counter(
    "threadwax_posted_before",
    "Second posts prevented",
    ["platform"],
)
post_failed = Counter("threadwax_post_failed", "Parts not posted", ["platform", "why"])
post_s = Histogram(
    "threadwax_post_seconds",
    "One part to the platform's confirmation",
    ["platform"],
    buckets=_SECONDS,
)
reply_s = Histogram(
    "threadwax_reply_seconds",
    "Question asked to its whole reply shown: how long people wait",
    ["platform"],
    buckets=_WAITS,
)

# --- the recorder, which also reports the state of NATS --------------------------------------

recorded = Counter("threadwax_recorded", "Rows written to the database", ["table"])
not_recorded = Counter("threadwax_not_recorded", "Messages that cannot be recorded", ["why"])
recorder_lag_s = OwnGauge(
    "threadwax_recorder_lag_seconds", "Age of the oldest message that is not in the database"
)
database_up = OwnGauge("threadwax_database_up", "1 while the database accepts rows")
database_outages = Counter("threadwax_database_outages", "Times that the database went away")
stream_messages = Gauge(
    "threadwax_stream_messages", "Messages in a stream; in DLQ: dead letters", ["stream"]
)
stream_bytes = Gauge("threadwax_stream_bytes", "Size of a stream", ["stream"])
stream_filled = Gauge("threadwax_stream_filled", "Used fraction of a stream's limit", ["stream"])
replicas_behind = Gauge(
    "threadwax_stream_replicas_behind",
    "Replicas of a stream that are offline or do not have its newest messages",
    ["stream"],
)
partition_readers = Gauge(
    "threadwax_partition_readers",
    "Dataflow processes that read a partition of the questions",
    ["partition"],
)
partition_lag = Gauge(
    "threadwax_partition_lag_messages", "Events of a partition that are still unread", ["partition"]
)
replies_waiting = Gauge(
    "threadwax_replies_waiting", "Replies that an adapter has not fetched", ["platform"]
)
replies_in_progress = Gauge(
    "threadwax_replies_in_progress", "Replies that an adapter is showing", ["platform"]
)


def begin(platform: str) -> None:
    """Exports an adapter's counters as 0: Prometheus does not see the first step of a new one."""
    published.labels(platform, "ask")
    published_before.labels(platform)
    for why in ("too large", "over quota", "full", "unavailable"):
        publish_failed.labels(platform, why)
    posted.labels(platform)
    posted_before.labels(platform)
    for why in ("later", "given up", "defect"):
        post_failed.labels(platform, why)


def count(counter: Counter, usage: Usage) -> None:
    """Adds the tokens of a call to a counter, by direction."""
    counter.labels("prompt").inc(usage.prompt_tokens)
    counter.labels("completion").inc(usage.completion_tokens)
    if usage.cached_tokens is not None:
        counter.labels("cached").inc(usage.cached_tokens)
    if usage.reasoning_tokens is not None:
        counter.labels("reasoning").inc(usage.reasoning_tokens)
