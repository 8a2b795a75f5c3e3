"""What several integration tests share."""

from tests.fixtures_gateway import flow, gateway  # noqa: F401  (fixtures)
