"""Fake servers that speak the real protocols over real sockets."""
