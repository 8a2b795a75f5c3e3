"""Conversations: pure rules, the Bytewax step around them, sources, sink, and the model client."""
