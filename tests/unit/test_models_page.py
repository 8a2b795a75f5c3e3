"""docs/models.md promises a test for each of its lines."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "models.md"

_REFERENCE = re.compile(r"`((?:tests/[a-z]+/)?test_\w+\.py)?(?:::(test_\w+))?`")
"""Matches a file, a test with its file, or a test in the last named file."""


def test_every_test_that_the_page_names_exists() -> None:
    source, names = "", 0
    for file, test in _REFERENCE.findall(PAGE.read_text()):
        if file:
            path = ROOT / (file if "/" in file else f"tests/integration/{file}")
            assert path.exists(), file
            source = path.read_text()
        if test:
            assert f"def {test}(" in source, test
            names += 1
    assert names > 40
