"""Conventions that no linter checks."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUBJECT = re.compile(r"(p|prompts|replies|partials|dlq|blobs)\.([^ ]|$)")
"""Matches the beginning of our subjects, and of patterns for them."""


def test_subjects_are_built_in_shared_names_only() -> None:
    """A subject that is built elsewhere could contain a name that was not encoded."""
    builders = set()
    for folder in ("shared", "bots", "dataflow", "ops"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if (
                    isinstance(node, ast.Constant)
                    and isinstance(node.value, str)
                    and SUBJECT.match(node.value)
                ):
                    builders.add(str(path.relative_to(ROOT)))
    assert builders == {"shared/names.py"}
