"""Public names say what they do: shapes where arrays go in or out, errors where they raise them.

Public is what has no underscore: modules, classes, functions, methods, fields of dataclasses. A method need
not repeat what its class says, or a base class, a protocol of its module, or the contract of problems and of
play schemes; nor need a field repeat what these say of it.
"""

from __future__ import annotations

import ast
import dataclasses
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from core.optim import RULES, adjustments, play

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("core", "rl", "games", "finance")
FILES = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py") if "files" not in p.parts)
SHAPE = re.compile(r"`[^`]*\[[^\]`]+\][^`]*`|scalar|(?:[Ss]ee|[Aa]s of) `")
ARRAYS = re.compile(r"\b(Tensor|Array|NDArray|ndarray|Floats)\b")
ENTRY = re.compile(r"^ {4}(\w[\w, ]*):(.*(?:\n {8}.*)*)", re.MULTILINE)
CONTRACTS = (("core/lab/problem.py", "Problem"), ("core/optim/play/scheme.py", "PlayScheme"))

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Public:
    """A public function or method.

    Attributes:
        where: file, line and name.
        node: its syntax.
        own: its docstring, or "".
        others: docstrings of methods of its name in base classes, protocols and contracts.
        about: docstrings of the classes of all these.
    """

    where: str
    node: Function
    own: str
    others: str = ""
    about: str = ""


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def is_public(name: str) -> bool:
    return not name.startswith("_")


def doc(node: ast.AST) -> str:
    assert isinstance(node, (ast.Module, ast.ClassDef, *Function.__args__))
    return ast.get_docstring(node) or ""


def methods(node: ast.ClassDef) -> dict[str, Function]:
    return {x.name: x for x in node.body if isinstance(x, Function)}


@cache
def classes() -> dict[str, list[ast.ClassDef]]:
    """By name, over all packages."""
    found: dict[str, list[ast.ClassDef]] = {}
    for path in FILES:
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(node)
    return found


def speakers(path: Path, node: ast.ClassDef) -> Iterator[ast.ClassDef]:
    """The classes that speak for a class: its bases, protocols of its module, and the contracts."""
    for base in node.bases:
        name = base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
        for found in classes().get(name, ()):
            yield found
            yield from speakers(path, found)
    for other in tree_of(path).body:
        if isinstance(other, ast.ClassDef) and any(getattr(b, "id", "") == "Protocol" for b in other.bases):
            yield other
    for file, name in CONTRACTS:
        yield from (c for c in tree_of(ROOT / file).body if isinstance(c, ast.ClassDef) and c.name == name)


def publics(path: Path) -> Iterator[Public]:
    where = path.relative_to(ROOT)
    for node in tree_of(path).body:
        if isinstance(node, Function) and is_public(node.name):
            yield Public(f"{where}:{node.lineno} {node.name}", node, doc(node))
        if isinstance(node, ast.ClassDef) and is_public(node.name):
            others = [(c, methods(c)) for c in speakers(path, node)]
            for name, method in methods(node).items():
                if is_public(name):
                    spoken = [(doc(c), doc(m[name])) for c, m in others if name in m]
                    yield Public(
                        f"{where}:{method.lineno} {node.name}.{name}",
                        method,
                        doc(method),
                        "\n".join(said for _, said in spoken),
                        "\n".join((doc(node), *(about for about, _ in spoken))),
                    )


def raised(node: ast.AST) -> set[str]:
    """Names of the errors that a function raises itself, not those of functions within it."""
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (*Function.__args__, ast.Lambda, ast.ClassDef)):
            continue
        if isinstance(child, ast.Raise) and isinstance(child.exc, ast.Call):
            name = child.exc.func
            found.add(name.attr if isinstance(name, ast.Attribute) else getattr(name, "id", ""))
        found |= raised(child)
    return {n for n in found if n.endswith(("Error", "Failed", "Died", "Stopped"))}


def takes_arrays(node: Function) -> bool:
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    notes = [a.annotation for a in given if a.annotation is not None]
    notes += [node.returns] if node.returns is not None else []
    return any(ARRAYS.search(ast.unparse(n)) for n in notes)


def is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(d) for d in node.decorator_list)


def fields(node: ast.ClassDef) -> dict[str, ast.expr]:
    """Annotations, by name."""
    declared = [x for x in node.body if isinstance(x, ast.AnnAssign)]
    return {x.target.id: x.annotation for x in declared if isinstance(x.target, ast.Name)}


def said_of(node: ast.ClassDef) -> dict[str, str]:
    """By field or method that a class declares: its entry in the class docstring and what stands below it."""
    found = {name: doc(method) for name, method in methods(node).items()}
    entries = {name: said for names, said in ENTRY.findall(doc(node)) for name in names.split(", ")}
    found |= {name: entries.get(name, "") for name in fields(node)}
    for x, below in pairwise(node.body):
        match x, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] += text
    return found


def silent(path: Path) -> list[str]:
    where = path.relative_to(ROOT)
    found = [] if doc(tree_of(path)) else [f"{where}: the module"]
    for node in tree_of(path).body:
        if isinstance(node, ast.ClassDef) and is_public(node.name) and not doc(node):
            found.append(f"{where}:{node.lineno} {node.name}")
    return found + [p.where for p in publics(path) if not (p.own or p.others)]


def without_shapes(path: Path) -> list[str]:
    return [
        p.where
        for p in publics(path)
        if takes_arrays(p.node) and not SHAPE.search(f"{p.own} {p.others} {p.about}")
    ]


def without_errors(path: Path) -> list[str]:
    found = [
        f"{p.where}: {', '.join(sorted(errors))}"
        for p in publics(path)
        if (errors := raised(p.node)) and "Raises:" not in p.own and "aise" not in p.own.partition("\n")[0]
    ]
    for node in tree_of(path).body:
        if isinstance(node, ast.ClassDef) and is_public(node.name):
            made = set().union(
                *(raised(m) for n, m in methods(node).items() if n in ("__init__", "__post_init__"))
            )
            if made and "Raises:" not in doc(node):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {', '.join(sorted(made))}")
    return found


def unexplained_fields(path: Path) -> list[str]:
    found = []
    for node in tree_of(path).body:
        if not (isinstance(node, ast.ClassDef) and is_public(node.name) and is_dataclass(node)):
            continue
        spoken = [(doc(c), said_of(c)) for c in (node, *speakers(path, node))]
        for name, annotation in fields(node).items():
            said = " ".join(own[name] for _, own in spoken if name in own)
            about = " ".join(of for of, own in spoken if name in own)
            named = said.strip() or re.search(rf"\b{name}\b", about)
            shaped = SHAPE.search(said) or not ARRAYS.search(ast.unparse(annotation))
            if is_public(name) and not (named and shaped):
                found.append(f"{path.relative_to(ROOT)}:{annotation.lineno} {node.name}.{name}")
    return found


def all_of(rule: object) -> list[str]:
    assert callable(rule)
    return [line for path in FILES for line in rule(path)]


def test_every_public_name_has_a_docstring() -> None:
    assert all_of(silent) == []


def test_functions_of_arrays_name_their_shapes() -> None:
    assert all_of(without_shapes) == []


def test_functions_that_raise_say_what_and_when() -> None:
    assert all_of(without_errors) == []


def test_fields_of_public_dataclasses_are_explained() -> None:
    assert all_of(unexplained_fields) == []


WITHOUT_A_PAPER = {"Simultaneous", "Alternating", "Adjusted"}


def test_rules_play_schemes_and_adjustments_name_their_source() -> None:
    schemes = [c for c in vars(play).values() if isinstance(c, type) and issubclass(c, play.PlayScheme)]
    adjusting = [c for c in vars(adjustments).values() if dataclasses.is_dataclass(c)]
    assert len(schemes) > 8
    assert len(adjusting) > 3
    named = {
        **{name: rule.formula.__doc__ for name, rule in RULES.items()},
        **{c.__name__: c.__doc__ for c in (*schemes, *adjusting) if c is not play.PlayScheme},
    }
    found = {name for name, said in named.items() if not re.search(r"[A-Z][a-z]+.*(19|20)\d\d", said or "")}
    assert found == WITHOUT_A_PAPER


BAD = {
    "silent": """
        def f(): ...
        class C:
            def m(self): ...
    """,
    "without_shapes": """
        def f(x: Tensor) -> float:
            "Of x."
        class C:
            "It has `[R, D]`."
            def m(self, x: Tensor): ...
        class D:
            "It has none."
            def m(self, x: Tensor): ...
    """,
    "without_errors": """
        def f():
            "Nothing."
            raise VhatError("x")
        def g():
            "Nothing."
            def inner():
                raise VhatError("x")
        class C:
            "Nothing."
            def __init__(self):
                raise ValueError("x")
    """,
    "unexplained_fields": """
        class P(Protocol):
            size: int
            "Of all."
            share: int
        @dataclass
        class C:
            "It has sizes and a `count`. It also has x, `[R]`."
            count: int
            size: int
            share: int
            near: int
            "Below it."
            far: int
            _own: int
            x: Tensor
        @dataclass
        class D(C):
            '''It.

            Attributes:
                far, wide: how far
                    and wide.
                y: `[R]`.
                z: it has none.
            '''
            far: int
            wide: int
            y: Tensor
            z: Tensor
            near: int
            u: Tensor
            "`[R]`, below it."
    """,
}


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        (silent, "C f C.m"),
        (without_shapes, "f D.m"),
        (without_errors, "f C"),
        (unexplained_fields, "C.share C.far C.x D.z"),
    ],
)
def test_the_rules_find_what_they_ask_for(
    rule: Callable[[Path], list[str]], names: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "CONTRACTS", ())
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    bad = tmp_path / "bad.py"
    monkeypatch.setitem(globals(), "FILES", [bad])
    monkeypatch.setitem(globals(), "classes", classes.__wrapped__)
    bad.write_text('"""A module."""\n' + textwrap.dedent(BAD[rule.__name__]), "utf-8")
    found = [line.partition(" ")[2].partition(":")[0] for line in rule(bad)]
    assert found == names.split()
