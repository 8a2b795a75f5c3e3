"""Eviction: idle conversations are written to the disk and dropped from memory."""
