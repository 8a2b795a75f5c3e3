"""Discord as a chat platform: its events become ours, our replies become messages."""
