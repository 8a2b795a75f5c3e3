"""The Prometheus metrics of all processes."""

from prometheus_client import Counter, Gauge, Histogram

from shared.messages import Usage

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

published = Counter("threadwax_published", "Events stored by adapters", ["platform", "kind"])
answered = Counter("threadwax_answered", "Replies journaled", ["platform", "outcome"])
answered_before = Counter(
    "threadwax_answered_before", "Second answers prevented: the journal had one already"
)
posted = Counter("threadwax_posted", "Parts of replies shown to people", ["platform"])
posted_before = Counter(
    "threadwax_posted_before",
    "Second posts prevented",
    ["platform"],
)
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
post_failed = Counter("threadwax_post_failed", "Parts not posted", ["platform", "why"])
unreadable = Counter("threadwax_unreadable", "Messages moved to the dead letters")
model_retries = Counter("threadwax_model_retries", "Model calls retried", ["why"])
in_memory = Gauge("threadwax_conversations_in_memory", "Conversations that are not evicted")
restored = Counter("threadwax_conversations_restored", "Evicted conversations read back")
in_flight = Gauge("threadwax_in_flight", "Model calls in progress")
journal_filled = Gauge("threadwax_journal_filled", "Used fraction of the journal's limit")
first_token_s = Histogram(
    "threadwax_first_token_seconds", "Model call to its first text", buckets=_SECONDS
)
answer_s = Histogram("threadwax_answer_seconds", "Model call to journaled reply", buckets=_SECONDS)
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
connected = Gauge("threadwax_nats_connected", "1 while NATS answers")
recorded = Counter("threadwax_recorded", "Rows written to the database", ["table"])
not_recorded = Counter("threadwax_not_recorded", "Messages that cannot be recorded", ["why"])
recorder_lag_s = Gauge(
    "threadwax_recorder_lag_seconds", "Age of the oldest message that is not in the database"
)
database_up = Gauge("threadwax_database_up", "1 while the database accepts rows")
database_outages = Counter("threadwax_database_outages", "Times that the database went away")


def count(counter: Counter, usage: Usage) -> None:
    """Adds the tokens of a call to a counter, by direction."""
    counter.labels("prompt").inc(usage.prompt_tokens)
    counter.labels("completion").inc(usage.completion_tokens)
    if usage.cached_tokens is not None:
        counter.labels("cached").inc(usage.cached_tokens)
    if usage.reasoning_tokens is not None:
        counter.labels("reasoning").inc(usage.reasoning_tokens)
