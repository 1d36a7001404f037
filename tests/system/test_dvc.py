"""What a change runs and what it does not: the promises of docs/pipeline.md, through DVC, on one small clone.

DVC is asked what would run for most changes, in one process; those that stand for the others are run to the end.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pipeline.extract import cache
from tests.projects import Project, plain, ran

VARIANTS = 4  # rows of a clip in a view
AFTER_TRAIN = {"train", "evaluate", "report"}
CHEAP = ("split", "extract")  # everything but training


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("project"))
    project.clone()
    project.shrink()
    project.run("git", "init", "-q")
    project.commit()
    project.first = project.stages("repro")
    project.commit()
    return project


@pytest.fixture
def project(whole):
    """The project as it was after its first run."""
    yield whole
    restore(whole)


def restore(project: Project) -> None:
    project.run("git", "reset", "-q", "--hard")
    project.run("git", "clean", "-qfd")
    project.run("dvc", "checkout", "-q")


def own_corpus(folder: Path) -> Path:
    """An emotion-per-folder tree of three speakers."""
    for number, emotion in enumerate(["happy", "sad"]):
        for other, speaker in enumerate(["ann", "ben", "eve"]):
            for take in range(2):
                path = folder / emotion / speaker / f"{take}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                tone = np.sin(np.arange(16_000) * (0.05 + 0.01 * number + 0.002 * other + 0.0005 * take))
                soundfile.write(path, 0.3 * tone, 16_000)
    return folder


def test_the_first_run_makes_everything(whole):
    assert plain(whole.first) == {"demo", "ingest", "split", "extract", "train", "evaluate", "report"}
    scores = json.loads((whole.folder / "metrics/details.json").read_text())
    assert scores["protocol"] == "speaker"
    assert set(scores) >= {"test", "folds", "corpus", "class", "leak"}
    assert {"uar", "uar_ci95"} <= set(scores["test"])
    assert set(scores["test"]["uar_ci95"]) == {"low", "high"}
    assert scores["leak"]["contaminated"] == 0
    assert scores["synthetic"] == dict.fromkeys(["crema_d", "ravdess", "savee", "tess"], True)
    assert (whole.folder / "metrics/report.html").stat().st_size > 10_000


CHANGES = {  # what runs at once, and what stands behind it
    "execute.workers=2": (set(), set()),
    "device.count=2": (set(), set()),
    "model.crnn.units=9": (set(), set()),  # while the arch is cnn
    "model.features=mfcc": ({"train", "evaluate"}, {"report"}),
    "features.mfcc.n_mfcc=13": ({"extract"}, AFTER_TRAIN),  # behind it: while the model is on log-mel, none of it runs
    "augment.noise.snr_db=10": ({"extract"}, AFTER_TRAIN),
    "augment.copies=[noise]": ({"split", "extract"}, AFTER_TRAIN),
    "ingest.max_bad=0.02": ({"ingest"}, {"split", "extract", *AFTER_TRAIN}),  # none of which runs, see below
    "split.labels.scheme=4": ({"split"}, AFTER_TRAIN),
    "split.labels.source=voice": ({"split"}, AFTER_TRAIN),
    "~data.corpora.savee": ({"split"}, AFTER_TRAIN),
    "train.epochs=3": ({"train"}, {"evaluate", "report"}),
    "train.soft_labels=voice": ({"train"}, {"evaluate", "report"}),
}
EDITS = {
    "corpora/tess.py": {"demo", "ingest"},  # train takes the licences from the manifests
    "signal/fft.py": {"extract"},
    "signal/augment.py": {"extract"},  # split takes the names of the copies from the settings
    "extract/cluster.py": {"extract"},  # demo shows its progress, and ingest works, without Dask
}
# Ask DVC for the stages that changed and those behind them, for each change of a setting and each edit by itself.
ASK = """
import json, sys
from pathlib import Path
import networkx
from dvc.repo import Repo
from dvc.utils.hydra import apply_overrides

def asked():
    with Repo() as repo:
        graph, changed = repo.index.graph, set(repo.status())
        behind = {after for stage in graph if stage.addressing in changed for after in networkx.ancestors(graph, stage)}
        return [sorted(changed), sorted({stage.addressing for stage in behind} - changed)]

found, (changes, edits) = {}, json.load(sys.stdin)
for name in [*changes, *edits]:
    path = Path("params.yaml") if name in changes else Path("pipeline", name)
    before = path.read_bytes()
    if name in changes:
        apply_overrides(path, [name])
    else:
        path.write_bytes(before + b"\\n# one comment more\\n")
    found[name] = asked()
    path.write_bytes(before)
print(json.dumps([found, asked()]))
"""


@pytest.fixture(scope="module")
def told(whole):
    """What DVC says would run after each change and edit; nothing is out of date before and after them."""
    done = subprocess.run(
        [sys.executable, "-c", ASK], cwd=whole.folder, env=whole.environment, capture_output=True, text=True,
        input=json.dumps([list(CHANGES), list(EDITS)]), check=True,
    )  # fmt: skip
    found, after = json.loads(done.stdout.splitlines()[-1])
    assert after == [[], []]
    return {name: [plain(set(stages)) for stages in each] for name, each in found.items()}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_concerns_these_stages_and_no_others(told, change):
    now, behind = CHANGES[change]
    assert told[change][0] == now
    assert told[change][1] - now == behind


@pytest.mark.parametrize("edited", EDITS)
def test_an_edit_concerns_the_stages_whose_numbers_it_may_change(told, edited):
    assert told[edited][0] == EDITS[edited]


@pytest.mark.parametrize(
    ("change", "now", "next_"),
    [
        ("ingest.max_bad=0.02", {"ingest"}, set()),  # the manifests are the same
        ("split.labels.scheme=4", {"split"}, {"train", "evaluate"}),
        ("~data.corpora.savee", {"split"}, {"train", "evaluate"}),
    ],
)
def test_a_change_runs_what_it_concerns_and_what_needs_what_that_makes(project, change, now, next_):
    """``now``: what runs of ingest, split and extract; ``next_``: what has to run after them, besides report."""
    assert plain(project.change(change, only=CHEAP)) == now
    assert project.outdated() - {"report"} == next_


def test_a_view_that_is_not_trained_on_is_extracted_once_and_trains_nothing(project):
    log = project.run("dvc", "exp", "run", *CHEAP, "-S", "features.mfcc.n_mfcc=13")
    assert plain(ran(log)) == {"extract"}
    assert not re.search(r"[^\d]0 to extract", log)  # mfcc is new…
    assert project.outdated() - {"report"} == set()
    entries = written(project)
    project.run("dvc", "repro", "-s", "-f", "extract")
    assert written(project) == entries  # …and nothing is made twice


def test_another_network_trains_and_nothing_else(project):
    assert project.change("model.arch=crnn") == AFTER_TRAIN
    shown = project.run("dvc", "metrics", "show").splitlines()
    assert len(shown) <= 6
    assert max(map(len, shown)) <= 100
    assert {"uar", "uar_low", "uar_high", "accuracy", "f1", "svm", "leaks", "val_uar"} <= set(shown[0].split())
    assert len(project.run("dvc", "metrics", "diff").splitlines()) <= 10
    changed = json.loads(project.run("dvc", "metrics", "diff", "--json", "--targets", "metrics/details.json"))
    assert changed["metrics/details.json"]["training.arch"] == {"old": "cnn", "new": "crnn"}
    out = project.base / "plots"
    project.run("dvc", "plots", "diff", "HEAD", "-o", str(out))
    page = (out / "index.html").read_text(encoding="utf-8")
    for name in ("Confusion", "Loss", "F1 by class", "UAR by corpus"):
        assert name in page


def test_nothing_changed_runs_nothing(project):
    assert project.stages("repro") == set()
    assert project.change() == set()


def test_a_corpus_more_leaves_the_others_alone(project):
    folder = own_corpus(project.base / "own")
    assert project.change(f"+data.corpora.own={folder}", only=CHEAP) == {"ingest@own", "extract@own", "split"}
    assert project.outdated() - {"report"} == {"train", "evaluate"}


def test_a_corpus_that_moved_is_not_extracted_again_and_of_one_that_grew_one_clip_is(project):
    folder = shutil.copytree(project.folder / "data/raw/demo/RAVDESS", project.base / "grows")
    assert project.change(f"data.corpora.ravdess={folder}") == {"ingest@ravdess", "split"}
    clip = next(path for path in sorted(folder.rglob("*.wav")) if path.match("03-*-01-01-01-??.wav"))
    samples, rate = soundfile.read(clip)
    soundfile.write(clip.with_name(clip.name.replace("-01-01-01-", "-01-02-02-")), samples[::-1], rate)
    log = project.run("dvc", "repro", *CHEAP)
    assert ran(log) == {"ingest@ravdess", "split", "extract@ravdess"}
    assert "from the clip cache, 1 to extract" in log


def test_a_comment_in_the_code_extracts_nothing_anew(project):
    path = project.folder / "pipeline/signal/views.py"
    path.write_text(path.read_text(encoding="utf-8") + "\n# one comment more\n", encoding="utf-8")
    log = project.run("dvc", "repro")
    assert plain(ran(log)) == {"extract"}
    assert len(re.findall(r"from the clip cache, 0 to extract", log)) == 4


def test_extraction_gives_the_same_bytes_from_an_empty_cache(project):
    shutil.rmtree(project.cache)
    project.run("dvc", "repro", "-s", "-f", "extract")
    assert not project.run("git", "status", "--porcelain", "dvc.lock")


def test_a_killed_extraction_is_finished_by_the_next_repro(project):
    params = project.folder / "params.yaml"
    params.write_text(params.read_text(encoding="utf-8").replace("trim_db: 30.0", "trim_db: 31.0"), encoding="utf-8")
    before = written(project)
    child = subprocess.Popen(
        ["dvc", "repro", "extract"], cwd=project.folder, env=project.environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while len(written(project)) < len(before) + 4 and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.005)
    assert child.poll() is None, "it ended before it could be killed"
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    left = written(project)
    rows = Counter[str]()
    for path in left.keys() - before.keys():
        rows[path.parent.name.partition("-")[0]] += len(cache.read_segment(path).key)
    log = project.run("dvc", "repro", "extract")
    assert plain(ran(log)) == {"extract"}
    kept = [int(number) for number in re.findall(r"(\d+) from the clip cache, \d+ to extract", log)]
    assert 1 <= sum(kept) <= min(rows["logmel"], rows["mfcc"]) // VARIANTS  # clips whose two views were both finished
    made = written(project)
    assert made.items() > left.items(), "killed too late, or a finished segment was touched"
    project.run("dvc", "repro", "-s", "-f", "extract")
    assert written(project) == made


def written(project: Project) -> dict[Path, int]:
    """The segments of the clip cache and when they were written."""
    return {path: path.stat().st_mtime_ns for path in project.cache.rglob("*.arrow")}


def test_a_shard_that_is_gone_is_named(project):
    (project.folder / "features/logmel/tess.parquet").unlink()
    said = project.run("python", "-m", "pipeline.train", code=1)
    assert "features/logmel/tess.parquet does not exist: run 'dvc repro extract@tess'" in said.splitlines()[-1]


def test_a_misspelt_setting_is_refused(project):
    project.run("dvc", "exp", "run", "-S", "model.arhc=crnn", code=255)
    params = project.folder / "params.yaml"
    params.write_text(params.read_text(encoding="utf-8").replace("arch: cnn ", "arch: cmn "), encoding="utf-8")
    assert "model.cmn" in project.run("dvc", "repro", code=255)


ABSENT = {
    "missing": ("savee", "No such file or directory"),
    "empty": ("tess", "holds no audio file: point it at"),
    "pointers": ("ravdess", "run 'git lfs pull'"),
}


@pytest.fixture(scope="module")
def absent(whole):
    """What a run says of three corpora that are not there, and which of their manifests it left as they were."""
    folders = {state: whole.base / f"corpus-{state}" for state in ABSENT}
    folders["empty"].mkdir()
    (folders["pointers"] / "Actor_01").mkdir(parents=True)
    for number in range(1, 6):
        path = folders["pointers"] / f"Actor_01/03-01-0{number}-01-01-01-01.wav"
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    before = {path: path.read_bytes() for path in whole.folder.glob("data/manifest/*.parquet")}
    stale = set(whole.folder.rglob("*.tmp"))  # of the test that kills an extraction: such files go after an hour
    settings = [f"data.corpora.{name}={folders[state]}" for state, (name, _) in ABSENT.items()]
    said = whole.run("dvc", "exp", "run", "--keep-going", *(w for each in settings for w in ("-S", each)), code=255)
    assert set(whole.folder.rglob("*.tmp")) <= stale
    unharmed = {path.stem for path in before if not path.exists() or path.read_bytes() == before[path]}
    restore(whole)
    return said, folders, unharmed


@pytest.mark.parametrize("state", ABSENT)
def test_a_corpus_that_is_not_there_stops_the_run(absent, state):
    (said, folders, unharmed), (name, words) = absent, ABSENT[state]
    assert [line for line in said.splitlines() if words in line and str(folders[state]) in line], said
    assert name in unharmed
    assert not plain(ran(said)) & {"split", "train"}, "it went on without a corpus"


def test_experiments_in_temporary_workspaces_and_queues(project):
    """Such runs see no ignored files: all must come from stages or absolute paths."""
    project.run("dvc", "exp", "run", "--temp", "--name", "temp-crnn", "-S", "model.arch=crnn")
    project.run("dvc", "exp", "run", "--queue", "--name", "queued-mfcc", "-S", "model.features=mfcc")
    project.run("dvc", "exp", "run", "--run-all")
    shown = json.loads(project.run("dvc", "exp", "show", "--json", "--no-pager"))
    found = {each["name"]: each["revs"][0]["data"] for rev in shown for each in rev["experiments"] or []}
    models = {name: data["params"]["params.yaml"]["data"]["model"] for name, data in found.items()}
    assert models["temp-crnn"]["arch"] == "crnn"
    assert models["queued-mfcc"]["features"] == "mfcc"
    assert all(set(data["metrics"]["metrics/train.json"]["data"]) == {"val_uar"} for data in found.values())


def test_a_second_clone_trains_without_extracting_anything(project, bucket, tmp_path):
    pytest.importorskip("dvc_s3", reason="DVC cannot reach S3")
    other = Project(tmp_path / "other")
    other.base.mkdir()
    project.run("git", "clone", "-q", str(project.folder), str(other.folder))
    for each in (project, other):
        each.run("dvc", "remote", "add", "-d", "shared", "s3://ser/dvc")
    project.run("dvc", "push")
    other.run("dvc", "pull")
    assert other.outdated() == set()
    assert other.stages("repro") == set()
    assert other.change("model.arch=crnn") == {"train", "evaluate", "report"}
    assert json.loads((other.folder / "metrics/details.json").read_text())["training"]["arch"] == "crnn"
    assert not (other.cache / "clips").exists()
    for path in project.folder.glob("features/*/*.parquet"):
        assert (other.folder / path.relative_to(project.folder)).read_bytes() == path.read_bytes()
