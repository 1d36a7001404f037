"""What a change runs and what it does not: the promises of docs/pipeline.md, through DVC, on a small clone."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from ruamel.yaml import YAML

from pipeline.extract import cache
from tests.paths import ROOT

SMALL = {  # seconds instead of minutes; the demo's faults stay
    "data.demo.clips": 60,
    "audio.seconds": 1.0,
    "model.cnn.filters": [4, 8],
    "model.crnn.filters": [4, 8],
    "model.crnn.units": 8,
    "train.epochs": 2,
    "execute.workers": 1,
}
VARIANTS = 4  # rows of a clip in a view
AFTER_TRAIN = {"train", "evaluate", "report"}
CHEAP = ("split", "extract")  # everything but training


def ran(log: str) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)", log))


def plain(stages: set[str]) -> set[str]:
    return {name.partition("@")[0] for name in stages}


class Project:
    """A clone of the working tree with small parameters, everything run once."""

    def __init__(self, folder: Path) -> None:
        self.base, self.folder, self.cache = folder, folder / "clone", folder / "cache"
        people = {
            f"GIT_{who}_{what}": "tester@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "PYTEST_", "DVC_"))},
            **people,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(folder / "site"),
            "DVC_GLOBAL_CONFIG_DIR": str(folder / "global"),
            "DVC_SYSTEM_CONFIG_DIR": str(folder / "system"),
            "SER_CACHE_DIR": str(self.cache),
            "CUDA_VISIBLE_DEVICES": "",
        }

    def run(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(words, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def stages(self, *words: str) -> set[str]:
        """Run a dvc command and name the stages that ran, foreach parts included."""
        return ran(self.run("dvc", *words))

    def change(self, *settings: str, only: Sequence[str] = ()) -> set[str]:
        """Run an experiment with other settings, as far as the stages ``only``."""
        return self.stages("exp", "run", *only, *(word for setting in settings for word in ("-S", setting)))

    def outdated(self) -> set[str]:
        """The stages that would run next, without those that follow from them."""
        return plain(set(json.loads(self.run("dvc", "status", "--json"))))

    def clone(self) -> None:
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file() and not name.startswith(("metrics/", "dvc.lock")):
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, self.folder / name)

    def shrink(self) -> None:
        yaml, path = YAML(), self.folder / "params.yaml"
        params = yaml.load(path.read_text(encoding="utf-8"))
        for dotted, value in SMALL.items():
            *above, last = dotted.split(".")
            part = params
            for name in above:
                part = part[name]
            part[last] = value
        with path.open("w", encoding="utf-8") as file:
            yaml.dump(params, file)

    def commit(self) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", "state")


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
    whole.run("git", "reset", "-q", "--hard")
    whole.run("git", "clean", "-qfd")
    whole.run("dvc", "checkout", "-q")


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


@pytest.mark.parametrize(
    ("change", "now", "next_"),
    [
        ("execute.workers=2", set(), set()),
        ("device.count=2", set(), set()),
        ("model.crnn.units=9", set(), set()),  # while the arch is cnn
        ("model.features=mfcc", set(), {"train", "evaluate"}),
        ("features.mfcc.n_mfcc=13", {"extract"}, set()),  # while the model is on log-mel
        ("augment.noise.snr_db=10", {"extract"}, {"train", "evaluate"}),
        ("augment.copies=[noise]", {"split", "extract"}, {"train", "evaluate"}),
        ("ingest.max_bad=0.02", {"ingest"}, set()),
        ("split.labels.scheme=4", {"split"}, {"train", "evaluate"}),
        ("split.labels.source=voice", {"split"}, {"train", "evaluate"}),
        ("~data.corpora.savee", {"split"}, {"train", "evaluate"}),
        ("train.epochs=3", set(), {"train"}),
        ("train.soft_labels=voice", set(), {"train"}),
    ],
)
def test_a_change_runs_these_stages_and_no_others(project, change, now, next_):
    """``now``: what runs of ingest, split and extract; ``next_``: what has to run after them, besides report."""
    assert plain(project.change(change, only=CHEAP)) == now
    assert project.outdated() - {"report"} == next_


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


def test_a_view_that_is_not_trained_on_is_taken_from_the_cache(project):
    log = project.run("dvc", "exp", "run", "-S", "features.mfcc.n_mfcc=13")
    assert not re.search(r"[^\d]0 to extract", log)  # mfcc is new…
    entries = written(project)
    project.run("dvc", "repro", "-s", "-f", "extract")
    assert written(project) == entries  # …and nothing is made twice


def test_a_corpus_that_moved_is_not_extracted_again(project):
    shutil.copytree(project.folder / "data/raw/demo/RAVDESS", project.base / "moved")
    assert project.change(f"data.corpora.ravdess={project.base / 'moved'}") == {"ingest@ravdess", "split"}


def test_a_corpus_more_leaves_the_others_alone(project):
    folder = own_corpus(project.base / "own")
    assert project.change(f"+data.corpora.own={folder}", only=CHEAP) == {"ingest@own", "extract@own", "split"}
    assert project.outdated() - {"report"} == {"train", "evaluate"}


def test_one_clip_more_extracts_one_clip(project):
    folder = shutil.copytree(project.folder / "data/raw/demo/RAVDESS", project.base / "grows")
    project.change(f"data.corpora.ravdess={folder}", only=CHEAP)
    clip = next(path for path in sorted(folder.rglob("*.wav")) if path.match("03-*-01-01-01-??.wav"))
    samples, rate = soundfile.read(clip)
    soundfile.write(
        clip.with_name(clip.name.replace("-01-01-01-", "-01-02-02-")),
        samples[::-1],
        rate,
    )
    log = project.run("dvc", "repro", *CHEAP)
    assert ran(log) == {"ingest@ravdess", "split", "extract@ravdess"}
    assert "from the clip cache, 1 to extract" in log


def test_a_comment_in_the_code_extracts_nothing_anew(project):
    path = project.folder / "pipeline/signal/views.py"
    path.write_text(path.read_text(encoding="utf-8") + "\n# one comment more\n", encoding="utf-8")
    log = project.run("dvc", "repro")
    assert plain(ran(log)) == {"extract"}
    assert len(re.findall(r"from the clip cache, 0 to extract", log)) == 4


@pytest.mark.parametrize(
    ("edited", "now"),
    [
        ("corpora/tess.py", {"demo", "ingest"}),  # train takes the licences from the manifests
        ("signal/fourier.py", {"extract"}),
        ("signal/vocoder.py", {"extract"}),  # split takes the names of the copies from the settings
        ("extract/cluster.py", {"extract"}),  # demo shows its progress, and ingest works, without Dask
    ],
)
def test_an_edit_runs_the_stages_whose_numbers_it_may_change(project, edited, now):
    path = project.folder / "pipeline" / edited
    path.write_text(path.read_text(encoding="utf-8") + "\n# one comment more\n", encoding="utf-8")
    assert project.outdated() == now


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
        rows[path.parent.name.partition("-")[0]] += len(cache.read_segment(path).keys)
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


@pytest.mark.parametrize("state", ["missing", "empty", "pointers"])
def test_a_corpus_that_is_not_there_stops_the_run(project, state):
    folder = project.base / f"corpus-{state}"
    if state != "missing":
        (folder / "DC").mkdir(parents=True)
    if state == "pointers":
        for number in range(1, 6):
            (folder / f"DC/a{number:02}.wav").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    before = (project.folder / "data/manifest/savee.parquet").read_bytes()
    stale = set(project.folder.rglob("*.tmp"))  # of the test that kills an extraction: such files go after an hour
    said = project.run("dvc", "exp", "run", "-S", f"data.corpora.savee={folder}", code=255)
    words = {
        "missing": "No such file or directory",
        "empty": "holds no audio file: point it at",
        "pointers": "run 'git lfs pull'",
    }
    assert words[state] in said
    assert str(folder) in said
    manifest = project.folder / "data/manifest/savee.parquet"
    assert not manifest.exists() or manifest.read_bytes() == before
    assert set(project.folder.rglob("*.tmp")) <= stale


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
