"""Find the files that a module depends on, from its imports and theirs, without running any code."""

import ast
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


@cache
def package_modules() -> dict[str, Path]:
    """Map the dotted name of every module of the package to its file; a folder maps to its ``__init__.py``."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def direct_imports(module: str) -> frozenset[str]:
    """Find the modules of the package that a module imports directly, including imports within functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(package_modules()[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return frozenset(name for name in names if name in package_modules()) - {module}


def transitive_imports(module: str) -> set[str]:
    """Find a module, everything it imports directly or indirectly, and the packages that contain them."""
    reached, todo = set(), [module]
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            parents = name.split(".")
            todo += [".".join(parents[:depth]) for depth in range(1, len(parents))] + sorted(direct_imports(name))
    return reached


def dependency_files(module: str) -> list[Path]:
    """List the files of `transitive_imports`, sorted."""
    return sorted(package_modules()[name] for name in transitive_imports(module))
