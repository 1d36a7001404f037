"""The architecture: imports point down, heavy imports stay where they belong, dvc.yaml names the code a stage runs."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
FLOORS = [
    {"errors", "config", "labels", "machine", "extras", "shell", "paths", "yamlfile"},
    {"corpora", "signal", "evaluation", "networks", "recipes"},
    {"store"},
    {"stages", "serving"},
    {"commands"},
    {"cli"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
KERAS_ROOMS = re.compile(r"pipeline\.(networks\..*|store\.batches|stages\.(train|evaluate)|serving\..*)")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCE = {module_name(path): path for path in sorted((ROOT / "pipeline").rglob("*.py"))}


def imported(path: Path) -> set[str]:
    """All dotted names a module imports, late imports and parent packages included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own(path: Path) -> set[str]:
    named = {name for name in imported(path) if name in SOURCE}
    return named | {".".join(name.split(".")[:n]) for name in named for n in range(1, name.count(".") + 1)}


GRAPH = {name: own(path) - {name} for name, path in SOURCE.items()}


def reach(module: str) -> set[str]:
    """The module and everything it imports, however far."""
    seen, todo = set(), [module]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += GRAPH[name]
    return seen


def room(module: str) -> str:
    return module.split(".")[1]


INNER = sorted(name for name in SOURCE if name != "pipeline")
DVC = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
STAGES = {name: stage.get("do", stage) for name, stage in DVC["stages"].items()}
TEMPLATES = {ROOT / "pipeline" / name for name in ("evaluation/report.html", "networks/keras.json", "serving/card.md")}
RUNS = {name: re.search(r"-m (\S+)", stage["cmd"])[1] for name, stage in STAGES.items()}


@pytest.mark.parametrize("module", INNER)
def test_imports_point_down(module):
    up = {other for other in GRAPH[module] - {"pipeline"} if FLOOR[room(other)] > FLOOR[room(module)]}
    assert not up, f"{module} must not import {up}"


@pytest.mark.parametrize("module", sorted(set(RUNS.values())))
def test_a_stage_never_imports_a_stage(module):
    assert not reach(module) & set(RUNS.values()) - {module}


@pytest.mark.parametrize("module", INNER)
def test_keras_stays_in_its_rooms(module):
    heavy = {name for name in imported(SOURCE[module]) if name.split(".")[0] in {"keras", "tensorflow", "jax", "torch"}}
    assert not heavy or KERAS_ROOMS.fullmatch(module), f"{module} imports {heavy}"


@pytest.mark.parametrize("module", sorted(set(INNER) - {"pipeline.tools.runs"}))  # it reads DVC's experiments
def test_dvc_is_not_needed_to_run(module):
    assert not {name for name in imported(SOURCE[module]) if name.split(".")[0] in {"dvc", "dvclive"}}


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_all_the_code_it_runs(name):
    listed = set()
    for dep in STAGES[name]["deps"]:
        if dep.startswith("pipeline/"):
            path = ROOT / dep
            listed |= set(path.rglob("*.py")) if path.is_dir() else {path} - TEMPLATES
    needed = {SOURCE[module] for module in reach(RUNS[name])}
    wrong = {path.relative_to(ROOT).as_posix() for path in listed ^ needed if path.stat().st_size}
    assert not wrong, f"missing from deps or idle there: {wrong}"


@pytest.mark.parametrize(
    "module", ["pipeline.cli.main", *(RUNS[name] for name in ("demo", "ingest", "split", "extract"))]
)
def test_quick_modules_start_without_keras(module):
    script = f"import sys, {module}; print(*{{'keras', 'tensorflow', 'torch', 'jax'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert not done.stdout.split()


def test_data_inside_the_package_are_dependencies_too():
    assert "pipeline/evaluation/report.html" in STAGES["report"]["deps"]
    assert "pipeline/serving/card.md" in STAGES["evaluate"]["deps"]
    assert "pipeline/networks/keras.json" in STAGES["evaluate"]["deps"]  # train depends on its whole folder
    assert "pipeline/corpora/tables" in STAGES["ingest"]["deps"]  # its hashes decide which duplicate stays


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_declares_the_parameters_it_reads(name):
    text = SOURCE[RUNS[name]].read_text(encoding="utf-8")
    read = set(re.findall(r'config\.(?:get|section)\([^()]*?"([a-z_.]+)"\)', text)) - {"device", "execute", "store"}
    read |= {"seed"} if "config.seed(" in text or "recipe.from_params(" in text else set()
    read |= {"audio", "augment", "features"} if "recipe.from_params(" in text else set()
    declared = [str(param) for param in STAGES[name].get("params", [])]
    exempt = {"split": {"augment"}}.get(name, set())  # it reads the section and uses copies alone
    missing = {each for each in read - exempt if not any(f"{each}.".startswith(f"{param}.") for param in declared)}
    assert not missing


def test_no_section_of_params_is_unread():
    """A section that no stage declares (but `device`, `execute` and `store`) would change nothing, in silence."""
    declared = {re.split(r"[.$]", str(param))[0] for stage in STAGES.values() for param in stage.get("params", [])}
    params = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert set(params) - declared == {"device", "execute", "store"}
