"""What every process counts, for Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

published = Counter("threadwax_published", "Events stored by adapters", ["platform", "kind"])
answered = Counter("threadwax_answered", "Replies journaled", ["platform", "outcome"])
answered_before = Counter(
    "threadwax_answered_before", "Second answers prevented: the journal held one already"
)
posted = Counter("threadwax_posted", "Parts of replies shown to people", ["platform"])
posted_before = Counter(
    "threadwax_posted_before",
    "Second posts prevented",
    ["platform"],
)
post_failed = Counter("threadwax_post_failed", "Parts not posted", ["platform", "why"])
unreadable = Counter("threadwax_unreadable", "Messages sent to the dead letters")
model_retries = Counter("threadwax_model_retries", "Model calls tried again", ["why"])
in_memory = Gauge("threadwax_conversations_in_memory", "Conversations that are not at rest")
restored = Counter("threadwax_conversations_restored", "Conversations back from their rest")
in_flight = Gauge("threadwax_in_flight", "Model calls under way")
journal_filled = Gauge("threadwax_journal_filled", "Share of its room that the journal uses")
first_token_s = Histogram(
    "threadwax_first_token_seconds", "Model call to its first text", buckets=_SECONDS
)
answer_s = Histogram("threadwax_answer_seconds", "Model call to journaled reply", buckets=_SECONDS)
thought_chars = Counter(
    "threadwax_thought_chars", "Characters of reasoning that models sent and nobody was shown"
)
tokens = Counter("threadwax_tokens", "Tokens as the model counted them", ["direction"])
connected = Gauge("threadwax_nats_connected", "1 while NATS answers")
