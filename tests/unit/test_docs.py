"""Links in the documentation work, functions that a page links to exist, reasons are explained."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
ORIGIN = re.compile(r"[a-z]+:")
"""Matches the beginning of an address outside this repository."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_local_link_has_a_target(page: Path) -> None:
    broken = []
    for text, address in links(page):
        if ORIGIN.match(address):
            continue
        file, _, anchor = unquote(address).partition("#")
        target = (page.parent / file).resolve() if file else page
        if (
            not target.exists()
            or (anchor and anchor not in anchors(target))
            or (target.suffix == ".py" and is_python_name(text) and text not in names(target))
        ):
            broken.append(f"[{text}]({address})")
    assert not broken


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    listed = {(index.parent / address.partition("#")[0]).resolve() for _, address in links(index)}
    pages = set((ROOT / "docs").glob("*.md")) - {index}
    assert not pages - listed


READINESS = {
    "trouble", "storing_trouble", "health", "ready", "NOT_WELL", "NO_PARTITION", "NO_ROOM",
    "UNANSWERED", "UNREACHED",
}  # fmt: skip
"""The functions that return reasons for `/readyz`, and the constants with some."""

PARTS = (
    "shared/connection.py", "shared/publishing.py", "shared/stream_leaders.py",
    "bots/adapter.py", "bots/*/platform.py", "bots/*/client.py",
    "dataflow/readiness.py", "dataflow/model/health.py", "dataflow/recorder/run.py",
)  # fmt: skip


def test_every_reason_of_readyz_is_in_the_runbook() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    found = {reason for part in PARTS for file in ROOT.glob(part) for reason in reasons(file)}
    assert len(found) > 15
    assert not {reason for reason in found if reason not in runbook}


def reasons(module: Path) -> Iterator[str]:
    """Each sentence that says why a process is not ready, up to a colon, a comma or a value."""
    for node in ast.walk(ast.parse(module.read_text())):
        match node:
            case ast.FunctionDef(name=name) if name in READINESS:
                returned = [one.value for one in ast.walk(node) if isinstance(one, ast.Return)]
            case ast.AnnAssign(target=ast.Name(id=name)) if name in READINESS:
                returned = [node.value]
            case _:
                continue
        for part in (part for value in returned if value for part in ast.walk(value)):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                sentence = re.match(r"[^:,]*", part.value.strip("; "))
                if sentence and " " in sentence[0]:
                    yield sentence[0].strip()


def is_python_name(text: str) -> bool:
    """Whether the text of a link is a Python name such as `Relay.run`."""
    return all(part.isidentifier() for part in text.split("."))


def links(page: Path) -> Iterator[tuple[str, str]]:
    """The text and address of each link and image of a page."""
    for block in parsed(page):
        text, address = "", ""
        for token in block.children or ():
            if token.type == "link_open":
                text, address = "", str(token.attrs["href"])
            elif token.type == "link_close":
                yield text, address
            elif token.type == "image":
                yield token.content, str(token.attrs["src"])
            else:
                text += token.content


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub creates for the headings of a page."""
    found: Counter[str] = Counter()
    slugs = set()
    for before, token in pairwise(parsed(page)):
        if before.type == "heading_open":
            text = "".join(child.content for child in token.children or ())
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            slugs.add(f"{slug}-{found[slug]}" if found[slug] else slug)
            found[slug] += 1
    return slugs


@cache
def parsed(page: Path) -> list[Token]:
    return MarkdownIt("gfm-like", {"linkify": False}).parse(page.read_text())


@cache
def names(module: Path) -> set[str]:
    """The names of all functions, classes, methods and constants, such as `run` and `Relay.run`."""
    return set(defined(ast.parse(module.read_text()).body))


def defined(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield prefix + name
            case ast.ClassDef(name=name, body=inner):
                yield prefix + name
                yield from defined(inner, f"{prefix}{name}.")
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                yield prefix + name
