"""No number is written `number or default`: 0 is a number, and would be taken for a missing one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "resdeg"
Function = ast.FunctionDef | ast.AsyncFunctionDef
RETURN_NUMBERS = {"len", "sum", "min", "max", "abs", "round", "int", "float"}
RETURN_OTHERS = {"str", "bytes", "list", "tuple", "set", "frozenset", "dict", "sorted", "Path", "range"}
ASK_FOR_TRUTH = {"bool", "any", "all"}
DISPLAYS = (
    ast.JoinedStr, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.ListComp, ast.SetComp, ast.DictComp,
    ast.GeneratorExp, ast.Compare,
)  # fmt: skip


def members(annotation: ast.expr | None) -> Iterator[str]:
    """The names of the types that a value may have, None aside."""
    match annotation:
        case ast.Constant(value=str(text)):
            yield from members(ast.parse(text, mode="eval").body)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            yield from members(left)
            yield from members(right)
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[first, *_])):
            yield from members(first)
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            yield from members(inner)
        case ast.Subscript(value=value):
            yield ast.unparse(value)
        case ast.expr() if not (isinstance(annotation, ast.Constant) and annotation.value is None):
            yield ast.unparse(annotation)


def key(module: str, name: str) -> str:
    """A private name is that of its module alone."""
    return f"{module}:{name}" if name.startswith("_") else name


class Kinds:
    """What attributes, results and names are annotated as, over all modules: True for a number."""

    def __init__(self, trees: dict[str, ast.Module]) -> None:
        self.aliases: dict[str, ast.expr] = {}
        for tree in trees.values():
            for node in tree.body:
                match node:
                    case ast.Assign(
                        targets=[ast.Name(id=name)], value=ast.Subscript() | ast.BinOp() as value
                    ):
                        self.aliases[name] = value
        self.attributes: dict[str, set[bool]] = {}
        self.results: dict[str, set[bool]] = {}
        self.names: dict[str, set[bool]] = {}
        for module, tree in trees.items():
            for node in ast.walk(tree):
                match node:
                    case ast.ClassDef(body=body):
                        for inner in body:
                            if isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name):
                                self._note(self.attributes, module, inner.target.id, inner.annotation)
                    case ast.FunctionDef(name=name, returns=annotation, decorator_list=decorators):
                        is_value = any("property" in ast.unparse(decorator) for decorator in decorators)
                        self._note(self.attributes if is_value else self.results, module, name, annotation)
                    case ast.AnnAssign(target=ast.Attribute(attr=name), annotation=annotation):
                        self._note(self.attributes, module, name, annotation)
                match node:
                    case (
                        ast.AnnAssign(target=ast.Name(id=name), annotation=annotation)
                        | ast.arg(arg=name, annotation=annotation)
                    ):
                        self._note(self.names, module, name, annotation)

    def _note(self, table: dict[str, set[bool]], module: str, name: str, annotation: ast.expr | None) -> None:
        if annotation is not None:
            table.setdefault(key(module, name), set()).add(self.is_number(annotation))

    def is_number(self, annotation: ast.expr) -> bool:
        return any(
            name in ("int", "float") or (name in self.aliases and self.is_number(self.aliases[name]))
            for name in members(annotation)
        )


class Scope:
    """What names stand for in a function or a module; what it lacks is asked of the one around it.

    An expression is a number (or None) where that is what its words tell: True; False where they tell
    another thing; None where they tell nothing.
    """

    def __init__(
        self, kinds: Kinds, module: str, node: ast.Module | Function | ast.Lambda, around: Scope | None = None
    ) -> None:
        self.kinds, self.module, self.around = kinds, module, around
        self.annotated: dict[str, bool] = {}
        self.assigned: dict[str, list[ast.expr]] = {}
        self.asked: set[str] = set()
        if not isinstance(node, ast.Module):
            given = node.args
            for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs):
                if argument.annotation is not None:
                    self.annotated[argument.arg] = kinds.is_number(argument.annotation)
        for inner in own_nodes(node):
            match inner:
                case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                    self.annotated[name] = kinds.is_number(annotation)
                case (
                    ast.Assign(targets=[ast.Name(id=name)], value=value)
                    | ast.NamedExpr(target=ast.Name(id=name), value=value)
                ):
                    self.assigned.setdefault(name, []).append(value)

    def number(self, node: ast.expr) -> bool | None:
        match node:
            case ast.Constant(value=value):
                return None if value is None else type(value) in (int, float)
            case ast.Name(id=name):
                return self.number_named(name)
            case ast.Attribute(attr=name):
                return self._looked_up(self.kinds.attributes, name)
            case ast.Call(func=ast.Name(id=name)) if name in RETURN_NUMBERS | RETURN_OTHERS:
                return name in RETURN_NUMBERS
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                return self._looked_up(self.kinds.results, name)
            case ast.IfExp(body=body, orelse=orelse):
                return self._any(body, orelse)
            case ast.BoolOp(op=ast.And(), values=[*_, last]):
                return self.number(last)
            case ast.BoolOp(values=values):
                return self._any(*values)
            case ast.NamedExpr(value=value) | ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=value):
                return self.number(value)
            case ast.BinOp(left=left, op=operator, right=right):
                sides = {self.number(left), self.number(right)}
                if False in sides:  # a path / a name, a set - a set
                    return False
                sums = not isinstance(operator, ast.Add | ast.BitOr | ast.BitAnd | ast.Mod)
                return True if sums or True in sides else None
        return False if isinstance(node, DISPLAYS) else None

    def number_named(self, name: str) -> bool | None:
        if name in self.annotated:
            return self.annotated[name]
        if name in self.assigned and name not in self.asked:
            self.asked.add(name)  # it may be made of itself
            try:
                answer = self._any(*self.assigned[name])
            finally:
                self.asked.discard(name)
            if answer is not None:
                return answer
        if self.around is not None:
            return self.around.number_named(name)
        return self._looked_up(self.kinds.names, name)

    def _any(self, *values: ast.expr) -> bool | None:
        kinds = {self.number(value) for value in values}
        return True if True in kinds else False if False in kinds else None

    def _looked_up(self, table: dict[str, set[bool]], name: str) -> bool | None:
        """A name that is of a number here and of another thing there tells nothing, an attribute does."""
        kinds = table.get(key(self.module, name), set())
        if len(kinds) == 2:
            return None if table is self.kinds.names else True
        return next(iter(kinds), None)


def is_truth(node: ast.expr) -> bool:
    """Whether `node` is True or False, so that `or` between it and others is an `or`."""
    match node:
        case ast.Compare() | ast.UnaryOp(op=ast.Not()) | ast.Constant(value=bool()):
            return True
        case ast.BoolOp(values=values):
            return all(is_truth(value) for value in values)
        case ast.Call(func=ast.Name(id=name)):
            return name in {"isinstance", "callable", "hasattr", *ASK_FOR_TRUTH}
    return False


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes in `node`, but those in functions in it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, Function | ast.Lambda):
            yield from own_nodes(child)


def asked_for_truth(node: ast.AST) -> list[ast.expr]:
    """The expressions in `node` of which nothing but their truth is used."""
    match node:
        case ast.If(test=test) | ast.While(test=test) | ast.Assert(test=test) | ast.IfExp(test=test):
            return [test]
        case ast.comprehension(ifs=tests):
            return tests
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return [operand]
        case ast.match_case(guard=ast.expr() as guard):
            return [guard]
        case ast.Call(func=ast.Name(id=name), args=[argument]) if name in ASK_FOR_TRUTH:
            each = isinstance(argument, ast.GeneratorExp | ast.ListComp)
            return [argument.elt if each else argument]
    return []


def defaults(node: ast.AST, scope: Scope, truths: frozenset[ast.AST]) -> Iterator[ast.BoolOp]:
    """Each `number or default` in `node` whose value is used; of `truths` it is not."""
    truths |= {*asked_for_truth(node)}
    match node:
        case ast.BoolOp(values=values) if node in truths:
            truths |= {*values}
        case ast.BoolOp(op=ast.And(), values=[*before, _]):
            truths |= {*before}
        case ast.BoolOp(values=[*before, last]):
            numbers = any(scope.number(value) for value in before)
            if numbers or (scope.number(last) and not all(is_truth(value) for value in before)):
                yield node
    for child in ast.iter_child_nodes(node):
        is_function = isinstance(child, Function | ast.Lambda)
        inner = Scope(scope.kinds, scope.module, child, scope) if is_function else scope
        yield from defaults(child, inner, truths)


def offences(sources: dict[str, str]) -> list[str]:
    """`file:line: text` of each place in the package of `sources`, by file name."""
    trees = {name: ast.parse(text) for name, text in sources.items()}
    kinds = Kinds(trees)
    return [
        f"{name}:{node.lineno}: {' '.join(ast.unparse(node).split())}"
        for name, tree in trees.items()
        for node in defaults(tree, Scope(kinds, name, tree), frozenset())
    ]


def test_no_number_stands_before_its_default() -> None:
    """Write `default if number is None else number`."""
    sources = {str(path.relative_to(PACKAGE)): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}
    assert len(sources) > 100
    assert offences(sources) == []


RECORDS = """
from typing import Annotated
from pydantic import BaseModel, Field
Share = Annotated[float, Field(ge=0)]
class Summary(BaseModel):
    train_accuracy: float | None = None
    steps: int = Field(0, ge=0)
    jobs: int | str = "auto"
    share: Share | None = None
    name: str | None = None
    depths: tuple[int, ...] = ()
    def __init__(self) -> None:
        self._first: float | None = None
    @property
    def seconds(self) -> float:
        return 1.0
    def mean(self) -> float | None:
        return None
def given_jobs(text: str | None) -> int | None:
    return None
"""
HEAD = """\
def f(summary, last, jobs: str | None, high: float | None, ready: bool, paths: list[str], folder: Path):
"""


def planted(line: str) -> list[str]:
    return offences({"records.py": RECORDS, "a.py": f"{HEAD}    {line}\n"})


@pytest.mark.parametrize(
    "line",
    [
        "x = summary.train_accuracy or last.train_accuracy",
        "x = (summary.train_accuracy if summary else None) or (last.train_accuracy if last else None)",
        "x = summary and summary.train_accuracy or None",
        "return summary.steps or None",
        "call(summary.share or default())",
        "call(step=summary.jobs or 'auto')",
        "x = [one.seconds or None for one in paths]",
        "x = summary.mean() or summary.name",
        "x = given_jobs(jobs) or fitting(paths)",
        "x = high or summary",
        "x = -(high or 1)",
        "x = len(paths) or None",
        "x = max(paths) - min(paths) or spread()",
        "x = sum(paths) or 1.0",
        "x = last * summary or None",
        "x = paths.get('x') or 0",
        "x = os.cpu_count() or 1",
        "x = os.cpu_count() or -1",
        "x = unknown() or high",
        "x = last or high or summary",
        "share = high\n    x = share or None",
        "if (x := high or 1) > 0: pass",
        "if (high or 1) > 0: pass",
        "while limit(high or 1): pass",
        "x = lambda: high or summary",
        "x = lambda steps: steps or None",
        "for steps, name in paths: call(steps or None)",
        "x = f'{high or summary}'",
        "def g(high): return high or summary",
    ],
)
def test_a_planted_line_is_seen(line: str) -> None:
    assert len(planted(line)) == 1
    assert planted(line)[0].startswith(f"a.py:{2 + line.count(chr(10))}: ")


@pytest.mark.parametrize(
    "line",
    [
        "x = 0.0 if high is None else high",
        "x = jobs or 'auto'",
        "x = summary.name or '-'",
        "x = paths or [8]",
        "x = summary.depths or (8, 20)",
        "x = folder or folder / summary.name",
        "x = paths or sorted(set(paths) - {1})",
        "x = {*paths} - {1} or paths",
        "x = summary.name + jobs or '-'",
        "x = summary or Summary()",
        "x = high is None or high > 0",
        "x = ready or len(paths) > 1",
        "x = ready or (jobs == 'a' and high < 1)",
        "x = isinstance(high, int) or 1",
        "x = not high or 1",
        "x = bool(high or summary.steps)",
        "x = any(one.steps or one.seconds for one in paths)",
        "if high or summary.steps: pass",
        "if ready and (high or summary.steps): pass",
        "if not (high or summary.steps): pass",
        "while summary.steps or high: pass",
        "assert high or summary.steps",
        "x = 1 if summary.steps or high else 2",
        "x = [one for one in paths if one.steps or high]",
        "x = high and summary",
        "x = (high or summary.steps) and jobs",
        "jobs = other(jobs)\n    x = jobs or 'auto'",
        "x = lambda high: summary or None",
        "def g(high: str): return high or 'none'",
    ],
)
def test_a_harmless_line_is_let_through(line: str) -> None:
    assert planted(line) == []
