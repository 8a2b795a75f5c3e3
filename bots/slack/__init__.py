"""Slack: Socket Mode or events over HTTP in, answers into the thread out."""
