"""Erasure: what is stored about a user is removed from every store that the dataflow owns."""
