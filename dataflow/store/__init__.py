"""The store: claims of partitions, positions in the stream, conversations and budgets of places."""
