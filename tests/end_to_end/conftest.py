"""Fixtures that several end-to-end tests share."""

from tests.end_to_end.slack_pair import slack_world  # noqa: F401  (a fixture)
