"""Which process serves which partition of the stream of events, and what it holds of each."""
