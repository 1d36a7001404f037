"""The architecture: a folder a stage, no cycles, Keras where it belongs, dvc.yaml names the code a stage runs."""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.core.dependencies import dependency_files, direct_imports, package_modules, transitive_imports
from tests.paths import ROOT

DVC = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
STAGES = {name: stage.get("do", stage) for name, stage in DVC["stages"].items()}
SHARED = {"core", "audio", "corpora", "signal", "dataset", "parallel", "text"}  # what stages share
BESIDE = {
    "acquire",
    "serving",
    "export",
    "tools",
    "upkeep",
    "cli",
}  # what is no stage imports stages, never the reverse
KERAS_FOLDERS = {"train", "serving", "export"}
# Folders of which a stage may depend on more files than it reaches. Train is dear, so none of its is here but core.
IDLE = {
    "demo": {"core", "corpora"},
    "ingest": {"core"},
    "split": {"core"},
    "extract": {"core"},
    "train": set(),
    "evaluate": {"core", "report", "train"},
    "report": {"core", "report"},
}


def folder(module: str) -> str:
    return module.split(".")[1]


FILES = {name: direct_imports(name) - {"pipeline"} for name in package_modules() if name != "pipeline"}


def folders() -> dict[str, set[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for name, imported in FILES.items():
        found[folder(name)] |= {folder(other) for other in imported} - {folder(name)}
    return dict(found)


@pytest.mark.parametrize("graph", [FILES, folders()], ids=["files", "folders"])
def test_imports_have_no_cycle(graph: Mapping[str, Set[str]]):
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_every_stage_is_a_folder_that_runs():
    assert {name: stage["cmd"].split()[:3] for name, stage in STAGES.items()} == {
        name: ["python", "-m", f"pipeline.{name}"] for name in STAGES
    }
    assert set(STAGES) | SHARED | BESIDE == set(folders())


@pytest.mark.parametrize("name", [*STAGES, *sorted(SHARED)])
def test_stages_import_nothing_that_stands_beside_them(name):
    assert not folders()[name] & BESIDE


@pytest.mark.parametrize("name", sorted(SHARED))
def test_what_stages_share_imports_no_stage(name):
    assert not folders()[name] & set(STAGES)


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_never_imports_how_another_runs(name):
    other = {f"pipeline.{stage}.stage" for stage in STAGES if stage != name}
    assert not transitive_imports(f"pipeline.{name}.stage") & other


def listed(name: str) -> Iterator[Path]:
    for dep in STAGES[name]["deps"]:
        if dep.startswith("pipeline/"):
            yield from [
                path
                for path in [ROOT / dep, *(ROOT / dep).rglob("*")]
                if path.is_file() and "__pycache__" not in path.parts
            ]


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_all_the_code_it_runs(name):
    missing = set(dependency_files(f"pipeline.{name}.__main__")) - set(listed(name))
    assert not missing, f"dvc.yaml: the deps of {name} lack {sorted(str(path.relative_to(ROOT)) for path in missing)}"


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_depends_on_code_it_does_not_run_only_where_that_is_allowed(name):
    idle = {path for path in listed(name) if path.suffix == ".py"} - set(dependency_files(f"pipeline.{name}.__main__"))
    assert not {path.relative_to(ROOT) for path in idle if path.relative_to(ROOT).parts[1] not in IDLE[name]}


def test_folders_allowed_to_be_idle_are_so():
    for name, allowed in IDLE.items():
        idle = {path for path in listed(name) if path.suffix == ".py"} - set(
            dependency_files(f"pipeline.{name}.__main__")
        )
        assert {path.relative_to(ROOT).parts[1] for path in idle} == allowed, name


def outer_imports(module: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(package_modules()[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).split(".")[0])
    return names


@pytest.mark.parametrize("module", sorted(FILES))
def test_keras_stays_in_its_folders(module):
    heavy = outer_imports(module) & {"keras", "tensorflow", "jax", "torch"}
    assert not heavy or folder(module) in KERAS_FOLDERS, f"{module} imports {heavy}"


@pytest.mark.parametrize("module", sorted(set(FILES) - {"pipeline.tools.runs"}))  # it reads DVC's experiments
def test_dvc_is_not_needed_to_run(module):
    assert not outer_imports(module) & {"dvc", "dvclive"}


QUICK = ["pipeline.cli.main", *(f"pipeline.{name}.stage" for name in ("demo", "ingest", "split", "extract", "report"))]


@pytest.fixture(scope="module")
def brought():
    """What of Keras is there after each quick module was imported, one after the other in one process."""
    script = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    print(name, *sorted({'keras', 'tensorflow', 'torch', 'jax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script, *QUICK], capture_output=True, text=True, cwd=ROOT, check=True)
    return {name: found for name, *found in map(str.split, done.stdout.splitlines())}


@pytest.mark.parametrize("module", QUICK)
def test_quick_modules_start_without_keras(brought, module):
    assert brought[module] == []


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("report", "pipeline/report/report.html"),
        ("evaluate", "pipeline/report/card.md"),
        ("evaluate", "pipeline/train/keras.json"),
        ("train", "pipeline/train/keras.json"),
        ("ingest", "pipeline/corpora/tables/ravdess.csv.xz"),  # its hashes decide which duplicate stays
    ],
)
def test_data_inside_the_package_are_dependencies_too(name, path):
    assert ROOT / path in set(listed(name))


def source_of(name: str) -> str:
    return package_modules()[f"pipeline.{name}.stage"].read_text(encoding="utf-8")


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_declares_the_parameters_it_reads(name):
    text = source_of(name)
    names = re.findall(r'config\.(?:get|section|get_setting|read_section)\([^()]*?"([a-z_.]+)"\)', text)
    read = set(names) - {"device", "execute", "store"}
    read |= {"seed"} if re.search(r"config\.(?:read_)?seed\(", text) or "from_params(" in text else set()
    read |= {"audio", "augment", "features"} if "from_params(" in text else set()
    assert read or name in {"evaluate", "report"}  # the patterns find something
    declared = [str(param) for param in STAGES[name].get("params", [])]
    exempt = {"split": {"augment"}}.get(name, set())  # it reads the section and uses copies alone
    missing = {each for each in read - exempt if not any(f"{each}.".startswith(f"{param}.") for param in declared)}
    assert not missing


def test_no_section_of_params_is_unread():
    """A section that no stage declares (but `device`, `execute` and `store`) would change nothing, in silence."""
    declared = {re.split(r"[.$]", str(param))[0] for stage in STAGES.values() for param in stage.get("params", [])}
    params = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert set(params) - declared == {"device", "execute", "store"}
