"""Conversations: pure rules, the Bytewax step around them, model client, source and sink."""
