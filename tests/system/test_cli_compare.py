"""``ser-features compare`` on a small git repository with DVC: revisions, experiments, exit codes."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from pipeline.cli.main import main
from pipeline.core import files, tables
from pipeline.evaluate.metrics import summarize_scores

STAGE = """stages:
  evaluate:
    cmd: 'true'
    outs: [models/predictions.parquet]
    metrics: [metrics/details.json: {cache: false}]
"""
CLASSES = ["angry", "sad"]


def evaluate(folder, share, **changes):
    """Write what evaluate writes: eight speakers of twenty clips, recognised with this share of luck."""
    rng = np.random.default_rng(7)
    rows = [(f"{who}-{n}", 0, "own", f"s{who}", "", CLASSES[n % 2]) for who in range(8) for n in range(20)]
    table = pd.DataFrame(rows, columns=["clip_id", "fold", "corpus", "speaker", "sex", "label"])
    column = (np.arange(160) + (rng.random(160) > share)) % 2
    probabilities = np.eye(2, dtype=np.float32)[column]
    scores = {
        "protocol": "speaker",
        "synthetic": {},
        **summarize_scores(table, probabilities, CLASSES, seed=0),
        **changes,
    }
    table["predicted"] = np.array(CLASSES)[column]
    tables.write_predictions(
        table.assign(variant="original"), probabilities, CLASSES, folder / "models/predictions.parquet"
    )
    files.write_json(scores, folder / "metrics/details.json")


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Tags empty, weak and strong = HEAD; the experiment guess, whose workspace was left behind; a folder to copy."""
    folder = tmp_path_factory.mktemp("repository")
    base = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "DVC_"))}
    people = {f"GIT_{who}_{what}": "me@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    rooms = ("DVC_SITE_CACHE_DIR", "DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR")
    places = {name: str(folder / name) for name in rooms}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    project = folder / "project"
    project.mkdir()

    def run(*words):
        environment = {**base, **people, **places, "DVC_NO_ANALYTICS": "1", "PATH": path}
        subprocess.run(words, cwd=project, env=environment, check=True, capture_output=True)

    def commit(tag):
        run("git", "add", "-A")
        run("git", "commit", "-qm", tag)
        run("git", "tag", tag)

    run("git", "init", "-q")
    run("dvc", "init", "-q")
    (project / "dvc.yaml").write_text(STAGE)
    (project / ".gitignore").write_text("/models/\n*.tmp\n")
    commit("empty")
    for tag, share in {"weak": 0.5, "strong": 0.9}.items():
        evaluate(project, share)
        run("dvc", "commit", "-fq", "evaluate")
        commit(tag)
    evaluate(project, 0.7)
    run("dvc", "commit", "-fq", "evaluate")
    run("dvc", "exp", "save", "-n", "guess")
    return project, places


@pytest.fixture
def project(repository, tmp_path, monkeypatch):
    """A copy of the repository as the current folder; the workspace holds the experiment's files."""
    for name in [name for name in os.environ if name.startswith(("GIT_", "DVC_"))]:
        monkeypatch.delenv(name)
    for name, value in repository[1].items():
        monkeypatch.setenv(name, value)
    shutil.copytree(repository[0], tmp_path / "project", symlinks=True)
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def run(*words):
    return CliRunner().invoke(main, ["compare", *words], catch_exceptions=False)


@pytest.mark.parametrize(
    ("words", "code", "start"),
    [
        (["weak", "strong"], 0, "better: strong against weak, +4"),
        (["HEAD~1", "HEAD", "--require", "better"], 0, "better: HEAD against HEAD~1, +4"),
        (["strong", "guess"], 1, "worse: guess against strong, -"),
        (["strong", "strong"], 0, "no difference that these data can show: strong against strong, 0.0 points"),
        (["strong", "strong", "--require", "better"], 1, "no difference that these data can show: strong"),
        (["strong"], 1, "worse: workspace against strong, -"),
        (["guess", "workspace"], 0, "no difference that these data can show: workspace against guess, 0.0 points"),
    ],
)
def test_revisions_tags_experiments_and_the_workspace(project, words, code, start):
    result = run(*words)
    *_, verdict, ground = result.output.splitlines()
    assert (result.exit_code, verdict[: len(start)]) == (code, start)
    assert ground.startswith("Paired bootstrap over 8 speakers; ")


def test_all_figures_on_request(project):
    found = json.loads(run("weak", "--json").output)
    assert [found[name] for name in ("before", "after", "verdict", "way")] == ["weak", "workspace", "better", "paired"]
    pooled = found["pooled"]
    assert pooled["low"] < pooled["difference"] < pooled["high"]
    assert pooled["difference"] == pytest.approx(pooled["after"] - pooled["before"])
    scores = json.loads(Path("metrics/details.json").read_text())
    assert pooled["after"] == pytest.approx(scores["test"]["uar"], abs=1e-4)


def test_without_the_cache_the_intervals_are_left(project):
    shutil.rmtree(".dvc/cache")
    result = run("weak", "workspace")
    assert "Unpaired, from the interval of each, because the predictions of weak cannot be read" in result.output
    shutil.rmtree("models")
    assert "weak cannot be read from DVC's cache and the predictions of workspace" in run("weak").output
    assert run("weak", "strong").exit_code == 0


def test_predictions_that_are_not_in_the_workspace_come_from_the_cache(project):
    shutil.rmtree("models")
    assert "Paired" in run("strong").output


def test_from_a_folder_below_and_from_a_clone(project, tmp_path, monkeypatch):
    Path("notes").mkdir()
    monkeypatch.chdir("notes")
    assert "Paired" in run("strong").output
    shutil.rmtree(project / "models")
    assert "Paired" in run("strong").output
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "clone", "-q", "project", "clone"], check=True, capture_output=True)
    monkeypatch.chdir("clone")
    result = run("weak", "origin/HEAD")
    assert result.exit_code == 0
    assert "Unpaired" in result.output


def graft(source: Path, top: Path, inside: str, *, above: bool) -> Path:
    """Make a git repository whose commits hold those of another in a folder; give the project in it.

    DVC's own folder comes along, or with ``above`` lies at the top. The workspace is that of the other repository.
    """

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(top), *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def commit(revision: str, *parents: str) -> str:
        git("read-tree", "--empty")
        git("read-tree", f"--prefix={inside}/", revision)
        if above:
            git("rm", "-rq", "--cached", f"{inside}/.dvc")
            git("read-tree", "--prefix=.dvc/", f"{revision}:.dvc")
        return git("commit-tree", "-m", revision, *(f"-p{parent}" for parent in parents), git("write-tree"))

    top.mkdir()
    git("init", "-q")
    git("fetch", "-q", "--no-tags", str(source), "refs/tags/*:refs/other/*", "refs/exps/*:refs/other/*")
    weak = commit("refs/other/weak")
    strong = commit("refs/other/strong", weak)
    (experiment,) = git("for-each-ref", "--format=%(refname)", "refs/other/*/*/guess").splitlines()
    git("update-ref", f"refs/exps/{strong[:2]}/{strong[2:]}/guess", commit(experiment, strong))
    git("tag", "weak", weak)
    git("tag", "strong", strong)
    git("reset", "-q", "--hard", strong)
    shutil.copy(source / "dvc.lock", top / inside)
    for name in ("metrics", "models"):
        shutil.copytree(source / name, top / inside / name, dirs_exist_ok=True)
    shutil.copytree(source / ".dvc/cache", top / ("" if above else inside) / ".dvc/cache")
    return top / inside


@pytest.fixture
def grafted(repository, project, tmp_path, monkeypatch):
    """Make the project anew in a folder of a git repository."""
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "me")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "me@example.org")
    return lambda inside="a/ser", above=False: graft(repository[0], tmp_path / "mono", inside, above=above)


PLACES = {
    "below": {},
    "below, DVC at the top": {"above": True},
    "blanks and umlauts": {"inside": "Übung mit Leerzeichen/sër (2)"},
}
FROM = (".", "metrics", "models")  # folders of the project


@pytest.mark.parametrize("below", FROM)
@pytest.mark.parametrize("place", PLACES)
def test_the_project_may_lie_anywhere_in_its_repository(grafted, monkeypatch, place, below):
    folder = grafted(**PLACES[place])
    monkeypatch.chdir(folder / below)
    for words, start in {
        ("weak", "strong"): "better: strong against weak, +4",
        ("HEAD~1", "HEAD"): "better: HEAD against HEAD~1, +4",
        ("guess", "strong"): "better: strong against guess, +1",
        ("strong",): "worse: workspace against strong, -1",
        ("guess",): "no difference that these data can show: workspace against guess, 0.0 points",
    }.items():
        *_, verdict, ground = run(*words).output.splitlines()
        assert verdict.startswith(start)
        assert ground.startswith("Paired bootstrap over 8 speakers; ")
    shutil.rmtree(folder / "models")
    monkeypatch.chdir(folder)
    assert "Paired" in run("strong").output, "the predictions of the workspace are in the cache"


@pytest.mark.parametrize("above", [False, True])
@pytest.mark.parametrize("kind", ["worktree", "submodule", "shallow", "hook"])
def test_a_repository_of_any_kind_is_read(grafted, tmp_path, monkeypatch, kind, above):
    """Their .git is a file, the history is cut off, or git says by the environment where it is."""
    project = grafted(above=above)
    top, other = tmp_path / "mono", tmp_path / "other"
    commands = {
        "worktree": [["git", "-C", top, "worktree", "add", "-q", "--detach", other, "strong"]],
        "submodule": [
            ["git", "init", "-q", tmp_path / "super"],
            ["git", "-C", tmp_path / "super", "-c", "protocol.file.allow=always", "submodule", "add", "-q", top, "ser"],
        ],
        "shallow": [["git", "clone", "-q", "--depth", "2", f"file://{top}", other]],
        "hook": [],
    }
    for command in commands[kind]:
        subprocess.run(command, check=True, capture_output=True)
    place = {"submodule": tmp_path / "super/ser", "hook": top}.get(kind, other) / "a/ser"
    if kind == "hook":
        monkeypatch.setenv("GIT_DIR", str(repository_elsewhere(tmp_path)))
        monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    else:
        cache = project.parents[1] / (".dvc/cache" if above else "a/ser/.dvc/cache")
        config = place.parents[1] / ".dvc" if above else place / ".dvc"
        monkeypatch.chdir(place)
        assert run("weak", "HEAD").output.splitlines()[-1].startswith("Unpaired"), "the cache stays where it was"
        (config / "config.local").write_text(f"[cache]\n    dir = {cache}\n")
    monkeypatch.chdir(place)
    *_, verdict, ground = run("weak", "HEAD").output.splitlines()
    assert verdict.startswith("better: HEAD against weak, +4")
    assert ground.startswith("Paired")


def repository_elsewhere(folder: Path) -> Path:
    subprocess.run(["git", "init", "-q", folder / "elsewhere"], check=True, capture_output=True)
    return folder / "elsewhere/.git"


def test_history_that_a_shallow_clone_lacks_can_be_fetched(grafted, tmp_path, monkeypatch):
    grafted()
    subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{tmp_path / 'mono'}", tmp_path / "cut"], check=True)
    monkeypatch.chdir(tmp_path / "cut/a/ser")
    result = run("HEAD~1", "HEAD")
    assert result.exit_code == 2
    assert result.stderr.rstrip().endswith("This clone is shallow: 'git fetch --unshallow' brings its history.")
    subprocess.run(["git", "fetch", "-q", "--unshallow"], check=True)
    assert run("HEAD~1", "HEAD").output.splitlines()[-2].startswith("better")


def test_a_revision_from_before_the_project_lay_there_is_named_with_its_path(grafted, monkeypatch):
    folder = grafted()
    for words in (["mv", "ser", "net"], ["commit", "-qm", "moved"]):
        subprocess.run(["git", "-C", str(folder.parent), *words], check=True, capture_output=True)
    monkeypatch.chdir(folder.with_name("net"))
    assert run("HEAD").exit_code in (0, 1)
    said = run("strong").stderr
    assert said.startswith("Error: strong has no a/net/metrics/details.json: run 'dvc repro' and commit it")


def test_outside_the_project_it_is_said_where_to_go(grafted, monkeypatch):
    folder = grafted()
    monkeypatch.chdir(folder.parent)
    result = run("HEAD")
    assert result.exit_code == 2
    sentence = f"Error: there is no dvc.yaml in {folder.parent} or above: go to the folder of the project.\n"
    assert result.stderr == sentence


def test_the_repository_of_another_user_is_read_once_git_is_told_to_trust_it(project, tmp_path, monkeypatch):
    if os.getuid():
        pytest.skip("only root can give files away")
    monkeypatch.setenv("HOME", str(tmp_path))
    subprocess.run(["chown", "-R", "nobody", str(project)], check=True)
    words = [Path(sys.executable).with_name("ser-features"), "compare", "weak", "strong"]
    done = subprocess.run(words, capture_output=True, text=True)
    command = done.stderr.rstrip().partition("if you trust that folder, run ")[2]
    assert (done.returncode, command) == (2, f"git config --global --add safe.directory {project}"), done.stderr
    subprocess.run(shlex.split(command), check=True)
    assert subprocess.run(words, capture_output=True, text=True).returncode == 0


def test_a_project_that_can_only_be_read_is_compared(project, monkeypatch):
    """Nothing is written to it: not even DVC's notes of what is busy."""
    shutil.rmtree(project / ".dvc/tmp", ignore_errors=True)
    before = {path: path.stat().st_mtime_ns for path in project.rglob("*")}
    assert "Paired" in run("weak", "strong").output
    assert "Paired" in run("strong").output
    assert {path: path.stat().st_mtime_ns for path in project.rglob("*")} == before


def test_a_revision_from_before_details_had_a_file_of_their_own_is_read(project):
    before = run("strong", "--json")
    git = ["git", "-c", "user.name=n", "-c", "user.email=n@example.org"]
    subprocess.run([*git, "mv", "metrics/details.json", "metrics/eval.json"], check=True)
    subprocess.run([*git, "commit", "-qam", "as it was"], check=True)
    assert json.loads(run("HEAD", "--json").output)["pooled"]["before"] == json.loads(before.output)["pooled"]["after"]
    Path("metrics/eval.json").write_text('{"uar": 0.5}')
    assert "workspace has no metrics/details.json: run 'dvc repro' and commit it" in run("HEAD").stderr


def test_other_protocols_exit_with_2(project):
    evaluate(project, 0.95, protocol="published", leak={"contaminated": 0.99})
    result = run("strong")
    assert result.exit_code == 2
    assert result.output.splitlines()[0] == "CONTAMINATED 99\u00a0%"
    assert result.output.splitlines()[-1] == (
        "not comparable: strong has the protocol speaker, workspace has published; "
        "test rows of workspace leak from training (99.0\u00a0%)."
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["stronk"], "Error: 'stronk' cannot be read (unknown Git revision 'stronk'): name a git revision or a DVC "),
        (["strong", "HEAD~7"], "Error: 'HEAD~7' cannot be read (unknown Git revision 'HEAD~7'): name a git revision"),
        (["empty"], "Error: empty has no metrics/details.json: run 'dvc repro' and commit it, or name another"),
        ([], "Error: Missing argument 'REV'."),
    ],
)
def test_what_cannot_be_read_is_one_sentence(project, words, sentence):
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1].startswith(sentence)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "Error: metrics/details.json of workspace is damaged (Expecting property name"),
        ("[]", "Error: metrics/details.json of workspace holds no test.uar: run 'dvc repro -f report' there.\n"),
    ],
)
def test_damaged_scores_are_one_sentence(project, text, sentence):
    Path("metrics/details.json").write_text(text)
    result = run("strong")
    assert (result.exit_code, result.stderr[: len(sentence)]) == (2, sentence)


def test_outside_a_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    result = run("HEAD")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: 'HEAD' cannot be read ({tmp_path} is not a git repository)")


def test_the_program_itself_says_nothing_else(project):
    words = [Path(sys.executable).with_name("ser-features"), "compare", "strong", "guess"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[0].split() == ["strong", "guess", "difference", "95", "%", "interval"]
