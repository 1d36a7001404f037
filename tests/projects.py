"""A clone of the project with small parameters, in which the tests of DVC work."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ruamel.yaml import YAML

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


def ran(log: str) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)", log))


def plain(stages: set[str]) -> set[str]:
    return {name.partition("@")[0] for name in stages}


class Project:
    """A clone of the working tree, with a clip cache and settings of DVC of its own."""

    first: set[str]  # the stages that ran when it was made

    def __init__(self, folder: Path) -> None:
        self.base, self.folder, self.cache = folder, folder / "clone", folder / "cache"

    @property
    def environment(self) -> dict[str, str]:
        people = {
            f"GIT_{who}_{what}": "tester@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "PYTEST_", "DVC_"))},
            **people,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(self.base / "site"),
            "DVC_GLOBAL_CONFIG_DIR": str(self.base / "global"),
            "DVC_SYSTEM_CONFIG_DIR": str(self.base / "system"),
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
