"""Which files of this package a module needs: its imports, and theirs, read from the source without running it."""

import ast
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


@cache
def modules() -> dict[str, Path]:
    """All modules of the package by dotted name; a folder goes by the name of its ``__init__.py``."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports_of(module: str) -> frozenset[str]:
    """Modules of the package that a module imports itself, late imports and those for type checkers included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(modules()[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return frozenset(name for name in names if name in modules()) - {module}


def modules_reached(module: str) -> set[str]:
    """The module and all that it imports, directly or not, with the folders that they lie in."""
    reached, todo = set(), [module]
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            parents = name.split(".")
            todo += [".".join(parents[:depth]) for depth in range(1, len(parents))] + sorted(imports_of(name))
    return reached


def files_reached(module: str) -> list[Path]:
    """The files of `modules_reached`, in order."""
    return sorted(modules()[name] for name in modules_reached(module))
