"""Only the journal decides that a question is settled."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_only_the_bus_makes_a_journaled_reply() -> None:
    """The type checker ensures that a conversation accepts nothing else."""
    makers = set()
    for folder in ("shared", "bots", "dataflow", "ops"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Journaled"):
                    makers.add(str(file.relative_to(ROOT)))
    assert makers == {"shared/bus.py"}
