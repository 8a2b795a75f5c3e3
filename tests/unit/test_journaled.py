"""Only the journal can say that a question is settled."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_only_the_bus_makes_a_journaled_reply() -> None:
    """The type checker sees to the rest: a conversation takes nothing else."""
    makers = set()
    for folder in ("shared", "bots", "dataflow", "ops"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Journaled"):
                    makers.add(str(file.relative_to(ROOT)))
    assert makers == {"shared/bus.py"}
