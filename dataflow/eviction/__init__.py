"""Conversations of users who are away: written to the disk, and dropped from memory."""
