"""The terminal: a chat on standard input and output."""
