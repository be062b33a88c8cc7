"""The words of the house: names are nouns of the field or verbs, and texts are sentences."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "resdeg"
FORBIDDEN = {"of", "found", "place", "one", "told", "kept", "wanted", "carry", "t", "c", "r", "tell"}
FRAGMENT = re.compile(r"(?:\A|[.:])\s*Of\s")  # at the start of a text or of a sentence in it


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every identifier of the source with its line, whether it is defined there or used."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.Name():
                yield node.lineno, node.id
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Attribute():
                yield node.lineno, node.attr
            case ast.keyword(arg=str(name)):
                yield node.value.lineno, name
            case ast.alias():
                yield node.lineno, node.asname if node.asname is not None else node.name
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield node.lineno, name
            case ast.MatchMapping(rest=str(name)):
                yield node.lineno, name
            case ast.Global() | ast.Nonlocal():
                yield from ((node.lineno, name) for name in node.names)


def texts(source: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every docstring and every comment with its first line; neighbouring lines of comment are one text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            documentation = ast.get_docstring(node)
            if documentation is not None:
                yield getattr(node, "lineno", 1), documentation
    block: list[tuple[int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        (line, column), text = token.start, token.string.removeprefix("#")
        if token.line[:column].strip():
            yield line, text  # a comment behind code stands for itself
            continue
        if block and line != block[-1][0] + 1:
            yield block[0][0], "\n".join(text for _, text in block)
            block = []
        block.append((line, text))
    if block:
        yield block[0][0], "\n".join(text for _, text in block)


def offences(source: str) -> list[tuple[int, str]]:
    """The lines that break the rules, each with its forbidden name or the start of its fragment."""
    tree = ast.parse(source)
    bad = {(line, name) for line, name in names(tree) if name in FORBIDDEN}
    bad |= {(line, match[0]) for line, text in texts(source, tree) for match in FRAGMENT.finditer(text)}
    return sorted(bad)


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix()
)
def test_names_and_texts_are_those_of_the_house(path: Path) -> None:
    assert offences(path.read_text()) == []


@pytest.mark.parametrize(
    "planted",
    [
        "def of(): ...",
        "class found: ...",
        "class Sample:\n    def of(self): ...",
        "place = 1",
        "def f(one): ...",
        "def f(*told): ...",
        "def f(*, kept): ...",
        "lambda wanted: 0",
        "self.carry = 1",
        "x = record.told",
        "f(place=1)",
        "import torch as t",
        "from math import tau as c",
        "for r in rows: ...",
        "with open() as tell: ...",
        "[found for found in rows]",
        "if (found := f()): ...",
        "match x:\n    case [one, *kept]: ...",
        "match x:\n    case {'a': 1, **told}: ...",
        "def f():\n    global place",
        '"""Of a run, its name."""',
        'def f():\n    """Of a run, its name."""',
        'class A:\n    """Of a run."""',
        "# Of the tests' own processes.",
        "x = 1  # of it\n# Of a run.",
        '"""A name. Of a run, its own."""',
        "# A name.\n# Of a run, its own.",
    ],
)
def test_the_rules_see_a_planted_source(planted: str) -> None:
    assert offences(planted)


@pytest.mark.parametrize(
    "clean",
    [
        "offset = 1",
        "def place_block(): ...",
        "x = 1  # of a run",
        "# A list\n# Of runs, goes on.",
        "x = 'of'",
        '"""Often."""',
    ],
)
def test_the_rules_leave_the_rest_alone(clean: str) -> None:
    assert offences(clean) == []
