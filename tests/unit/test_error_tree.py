"""The tree of exceptions in `shared/__init__.py` is complete."""

import ast
from collections.abc import Iterator

import shared
from tests.running import ROOT

PACKAGES = ("shared", "bots", "dataflow", "ops")


def exceptions() -> Iterator[tuple[str, str]]:
    """The names of all public exceptions and their bases, read from the code."""
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and node.bases:
                    name = f"{module}.{node.name}".removeprefix("shared.")
                    yield name, ast.unparse(node.bases[0])


def tree() -> dict[str, str]:
    """The names of all exceptions and their bases, read from the docstring."""
    bases: dict[str, str] = {}
    path: list[str] = []
    for line in (shared.__doc__ or "").splitlines():
        if line.lstrip().startswith("* "):
            depth = (len(line) - len(line.lstrip())) // 2
            name = line.lstrip("* ").partition(":")[0]
            path[depth:] = [name]
            if depth:
                bases[name] = path[depth - 1].rpartition(".")[2]
    return bases


def test_every_exception_is_in_the_tree_below_its_base() -> None:
    drawn = tree()
    roots = {"Exception", "ValueError", "OSError"} | {name.rpartition(".")[2] for name in drawn}
    found = {name: base for name, base in exceptions() if base in roots}
    assert found == drawn
