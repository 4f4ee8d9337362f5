"""Finds in a source text what would run, or make objects of, what it reads."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

MODULES = {
    *("pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"),
    *("code", "codeop", "runpy", "imp", "pty"),
}
"""Whose import is forbidden: they make objects, or run text, from what they read."""
BUILTINS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN = {
    *(f"builtins.{name}" for name in BUILTINS),
    *(f"os.{name}" for name in ("system", "popen", "startfile")),
    *(
        f"os.{kind}{end}"
        for kind in ("exec", "spawn")
        for end in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")
    ),
    *(f"yaml.{name}" for name in ("load", "load_all", "unsafe_load", "unsafe_load_all", "full_load")),
    *("subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell"),
    *("asyncio.subprocess.create_subprocess_shell", "pandas.read_pickle", "torch.jit.load", "torch.hub.load"),
    *("numpy.lib.npyio.load", "torch.serialization.load"),
}
"""What may not even be named: who holds it can call it under any other name."""
NEEDED: Mapping[str, tuple[str, object]] = {
    "torch.load": ("weights_only", True),
    "numpy.load": ("allow_pickle", False),
}
"""What may only be called at once, and must say so."""
FORBIDDEN_UNLESS: Mapping[str, object] = {"shell": False, "allow_pickle": False, "weights_only": True}
"""Keywords that may have no other value."""
USUAL = {"np": "numpy", "pd": "pandas"}
"""Names that mean a module even in a text that does not import it."""


def _imports(tree: ast.AST) -> Iterator[tuple[str, str, str]]:
    """Each import: the name it binds, what that stands for, and what is imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for a in node.names:
                top = a.name.partition(".")[0]
                yield (a.asname, a.name, a.name) if a.asname else (top, top, a.name)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for a in node.names:
                yield a.asname or a.name, f"{node.module}.{a.name}", f"{node.module}.{a.name}"


def _dotted(node: ast.AST, known: Mapping[str, str]) -> str:
    """`a.b.c` of an expression that is nothing else, its first name replaced by what it stands for; an
    attribute that is asked for by a name in quotes is one as well."""
    if isinstance(node, ast.Name):
        return known.get(node.id, node.id)
    if isinstance(node, ast.Attribute) and (whole := _dotted(node.value, known)):
        return f"{whole}.{node.attr}"
    if isinstance(node, ast.Call):
        called = _dotted(node.func, known)
        if called == "getattr" and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
            whole = _dotted(node.args[0], known)
            return f"{whole}.{node.args[1].value}" if whole else ""
        if called == "importlib.import_module" and node.args and isinstance(node.args[0], ast.Constant):
            return str(node.args[0].value)
    return ""


def _known(tree: ast.AST) -> dict[str, str]:
    """What names stand for: imports, and modules that are given another name."""
    known = {**USUAL, **{bound: meant for bound, meant, _ in _imports(tree)}}
    for _ in range(3):
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and (meant := _dotted(node.value, known)):
                for target in node.targets:
                    if isinstance(target, ast.Name) and meant.partition(".")[0] in _TOPS:
                        known[target.id] = meant
    return known


_TOPS = {name.partition(".")[0] for name in (*FORBIDDEN, *NEEDED)}


def _keywords(node: ast.Call) -> dict[str, object]:
    """Keywords with their values, `...` for what is no constant; those of `**{...}` as well."""
    pairs: list[tuple[str, ast.expr]] = []
    for keyword in node.keywords:
        if keyword.arg:
            pairs.append((keyword.arg, keyword.value))
        elif isinstance(keyword.value, ast.Dict):
            pairs += [
                (str(k.value), v)
                for k, v in zip(keyword.value.keys, keyword.value.values, strict=True)
                if isinstance(k, ast.Constant)
            ]
    return {name: v.value if isinstance(v, ast.Constant) else ... for name, v in pairs}


def _banned(name: str) -> bool:
    return any(name == m or name.startswith(f"{m}.") for m in MODULES)


def untrusted(text: str) -> list[str]:
    """What a source text does that it must not."""
    tree = ast.parse(text)
    known = _known(tree)
    wrong = [name for _, _, name in _imports(tree) if _banned(name) or name in FORBIDDEN or name in NEEDED]
    called_at_once: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            # Keywords that are kept in a dictionary until they are used.
            keys = [str(k.value) for k in node.keys if isinstance(k, ast.Constant)]
            wrong += [f"{{{k!r}: ...}}" for k in keys if k in ("shell", "allow_pickle")]
        if isinstance(node, ast.Call):
            called, values = _dotted(node.func, known), _keywords(node)
            called_at_once.add(id(node.func))
            wrong += [
                f"{k}={values[k]}" for k, only in FORBIDDEN_UNLESS.items() if values.get(k, only) is not only
            ]
            keyword, value = NEEDED.get(called, ("", None))
            if keyword and values.get(keyword) is not value:
                wrong.append(called)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute | ast.Call):
            name = _dotted(node, known)
            bare = name in NEEDED and id(node) not in called_at_once
            plain = isinstance(node, ast.Name) and name in BUILTINS
            by_name = isinstance(node, ast.Call) and _banned(name)
            if name in FORBIDDEN or bare or plain or by_name:
                wrong.append(name)
    return wrong
