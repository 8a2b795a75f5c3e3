"""Fixtures that several integration tests share."""

from tests.fixtures_gateway import flow, gateway  # noqa: F401  (fixtures)
from tests.fixtures_terminal import chat_environment  # noqa: F401
