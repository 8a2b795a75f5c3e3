"""The terminal: a chat on standard input and output, with a line editor if possible."""
