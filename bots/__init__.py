"""The port to chat platforms, the relay, and one folder per platform."""
