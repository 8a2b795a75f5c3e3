"""`threadwax dlq`: lists, shows, replays and drops dead letters."""
