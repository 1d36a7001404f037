"""What a module depends on, held against what Python loads."""

import subprocess
import sys

import pytest

from pipeline.core import dependencies
from tests.paths import ROOT

STAGES = ("demo", "ingest", "split", "extract", "train", "evaluate", "report")


@pytest.mark.parametrize("stage", STAGES)
def test_all_that_python_loads_is_among_the_dependencies(stage):
    script = (
        f"import sys, pipeline.{stage}.stage; print(*(m for m in sys.modules if m.partition('.')[0] == 'pipeline'))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    loaded = set(done.stdout.split())
    assert f"pipeline.{stage}.stage" in loaded
    assert loaded <= dependencies.transitive_imports(f"pipeline.{stage}.stage")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with every way to import a module, one module that nobody imports, and a cycle."""
    sources = {
        "__init__": "",
        "top": "from pkg.sub import used\n",
        "sub/__init__": "import pkg.face\n",
        "sub/used": "from pkg.names import VALUE\ndef f():\n    from pkg import late\n    import pkg.sub.deep\n",
        "sub/deep": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pkg.typed import T\n",
        "names": "VALUE = 1\nimport os, json.decoder\n",
        "late": "from pkg import top\n",
        "typed": "",
        "face": "",
        "idle": "from pkg import top\n",
    }
    for name, text in sources.items():
        path = tmp_path / "pkg" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(dependencies, "PACKAGE", tmp_path / "pkg")
    for cached in (dependencies.package_modules, dependencies.direct_imports):
        cached.cache_clear()
    yield tmp_path / "pkg"
    for cached in (dependencies.package_modules, dependencies.direct_imports):
        cached.cache_clear()


def test_late_and_type_checking_imports_count_and_idle_modules_do_not(package):
    names = {"", ".top", ".sub", ".sub.used", ".sub.deep", ".names", ".late", ".typed", ".face"}
    assert dependencies.transitive_imports("pkg.top") == {f"pkg{name}" for name in names}
    files = [path.relative_to(package).as_posix() for path in dependencies.dependency_files("pkg.top")]
    assert files == sorted(files)
    assert "idle.py" not in files
    assert {"__init__.py", "sub/__init__.py", "late.py", "typed.py"} <= set(files)
